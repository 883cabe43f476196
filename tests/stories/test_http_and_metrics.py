"""Mail by HTTP through four workers that share a socket; what is told of it adds up, also
after a worker was killed; readiness says what is missing."""

import asyncio
import os
import re
import signal
import smtplib
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from soboo_mta.cli.trial.world import World, free_ports
from tests.chaos.ready_world import DOMAIN, USER, ready_world

_EXTRA = """
[[http_listeners]]
address = "127.0.0.1"
port = {http}
tls = false

[monitoring]
port = {monitoring}

[store]
min_free = "1MiB"
"""


async def test_four_workers_take_mail_by_http_and_their_figures_add_up(
    tmp_path: Path,
) -> None:
    http, monitoring = free_ports(2)
    extra = _EXTRA.format(http=http, monitoring=monitoring)
    async with ready_world(tmp_path, workers=4, extra=extra) as place:
        await place.start_relay()
        auth = (USER, place.secrets[USER])
        told = Told(f"http://127.0.0.1:{monitoring}")
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{http}", auth=auth, timeout=20
        ) as client:
            assert (await told.ready())["ready"]
            ids = await _send(client, range(40))
            await asyncio.to_thread(_send_by_smtp, place, 5)
            refused = await client.post("/v1/messages", json=_message("x", to="a@b"))
            foreign = await client.post(
                "/v1/messages", json=_message("x") | {"from": "a@foreign.example"}
            )
            assert (refused.status_code, foreign.status_code) == (422, 403)
            await place.lab.wait_for(45)
            await told.until(place, {_DELIVERED: 45})
            await told.adds_up(accepted=45, delivered=45, refused=2)
            status = (await client.get(f"/v1/messages/{ids[0]}")).json()
            assert status["recipients"][0]["state"] == "delivered"

            await _kill_a_worker(place)
            ids += await _send(client, range(40, 80))
            await place.lab.wait_for(85)
            await told.until(place, {_DELIVERED: 85, ("soboo_workers", ()): 4})
            await told.adds_up(accepted=85, delivered=85, refused=2)
        records = place.lab.records
        assert len(set(ids)) == 80
        assert {record.verdict.dmarc for record in records} == {"pass"}
        assert await place.stop_relay() == 0


async def test_readiness_names_what_is_missing(tmp_path: Path) -> None:
    http, monitoring = free_ports(2)
    extra = _EXTRA.format(http=http, monitoring=monitoring).replace("1MiB", "900000GiB")
    async with ready_world(tmp_path, workers=1, extra=extra) as place:
        await place.start_relay()
        told = Told(f"http://127.0.0.1:{monitoring}")
        health = await told.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (200, "ok")
        answer = await told.get("/readyz")
        checks = answer.json()["checks"]
        assert answer.status_code == 503
        assert [name for name, one in checks.items() if not one["ok"]] == ["disk"]
        assert "MiB are free" in checks["disk"]["reason"]
        (worker,) = _workers(place)
        os.kill(worker, signal.SIGSTOP)  # alive, and answers nobody

        async def says_so() -> bool:
            found = (await told.get("/readyz")).json()["checks"]
            bad = {name for name, one in found.items() if not one["ok"]}
            listeners = {f"listener 127.0.0.1 {port}" for port in (http, place.port)}
            return bad == {"disk", "lease", *listeners}

        try:
            await place.until("readiness misses lease and listeners", says_so)
        finally:
            os.kill(worker, signal.SIGCONT)


_DELIVERED = ("soboo_settled_recipients_total", ("delivered", "reply"))
_Numbers = dict[tuple[str, tuple[str, ...]], float]


class Told:
    """What the monitoring port says."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self._url, timeout=20) as client:
            return await client.get(path)

    async def ready(self) -> dict[str, bool]:
        answer = await self.get("/readyz")
        assert answer.status_code == 200, answer.text
        found: dict[str, bool] = answer.json()
        return found

    async def numbers(self) -> _Numbers:
        """Each number by its name and its label values, in the order of the labels."""
        text = (await self.get("/metrics")).text
        return {
            (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): (
                sample.value
            )
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def until(self, place: World, wanted: _Numbers) -> None:
        """Wait until the figures are those, within what one scrape may be late."""

        async def so() -> bool:
            numbers = await self.numbers()
            return all(numbers.get(name) == value for name, value in wanted.items())

        await place.until(f"metrics say {wanted}", so)

    async def adds_up(self, *, accepted: int, delivered: int, refused: int) -> None:
        numbers = await self.numbers()
        assert numbers["soboo_accepted_messages_total", ()] == accepted
        assert numbers["soboo_accepted_recipients_total", ("acme",)] == accepted
        tenant = ("delivered", "acme")
        assert numbers["soboo_tenant_settled_recipients_total", tenant] == delivered
        by_host = [
            value
            for (name, labels), value in numbers.items()
            if name == "soboo_host_settled_recipients_total" and "delivered" in labels
        ]
        assert sum(by_host) == delivered
        assert numbers["soboo_acceptance_seconds_count", ()] == accepted
        assert numbers["soboo_delivery_seconds_count", ()] == delivered
        assert numbers["soboo_commit_seconds_count", ()] > 0
        by_reply = {
            labels[0]: value
            for (name, labels), value in numbers.items()
            if name == "soboo_refused_messages_total"
        }
        assert sum(by_reply.values()) == refused
        assert by_reply["550 5.7.1"] == 1
        processes = {
            labels[0]
            for name, labels in numbers
            if name == "soboo_process_resident_bytes"
        }
        assert processes == {f"worker {number}" for number in (1, 2, 3, 4)}
        assert numbers["soboo_store_up", ()] == 1
        assert numbers["soboo_dns_lookups_total", ("found",)] > 0
        doors = {labels[0] for name, labels in numbers if name == "soboo_connections"}
        assert doors == {"smtp", "http", "delivery"}


def _message(name: str, to: str = "ann@alpha.test") -> dict[str, object]:
    return {
        "from": f"Acme <news@{DOMAIN}>",
        "to": to,
        "subject": f"Number {name}",
        "text": "Grüße\n",
        "html": "<p>Grüße</p>",
    }


async def _send(client: httpx.AsyncClient, numbers: range) -> list[str]:
    answers = await asyncio.gather(
        *(client.post("/v1/messages", json=_message(str(n))) for n in numbers)
    )
    assert {one.status_code for one in answers} == {202}, answers[0].text
    return [one.json()["id"] for one in answers]


def _send_by_smtp(place: World, count: int) -> None:
    author = f"a@{DOMAIN}"
    text = f"From: {author}\r\nTo: b\r\nSubject: SMTP\r\n\r\nHello.\r\n"
    with smtplib.SMTP("127.0.0.1", place.port, "app.test", timeout=20) as client:
        client.login(USER, place.secrets[USER])
        for _ in range(count):
            client.sendmail(author, ["bea@beta.test"], text)


def _workers(place: World) -> list[int]:
    """The relay's children that are workers: control, the last one, is not."""
    assert place.relay is not None
    children = Path(f"/proc/{place.relay.pid}/task/{place.relay.pid}/children")
    found = [int(one) for one in re.findall(r"\d+", children.read_text())]
    return found[:-1]


async def _kill_a_worker(place: World) -> None:
    """It is gone, and its connections closed, before anybody sends on one of them."""
    worker = _workers(place)[0]
    os.kill(worker, signal.SIGKILL)

    async def is_gone() -> bool:
        return worker not in _workers(place) or _state(worker) in "ZX"

    await place.until("the worker is gone", is_gone)


def _state(process: int) -> str:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return "X"
    return stat.rpartition(")")[2].split()[0]
