"""curl as the application: the examples of docs/http.md as they stand, and its own ways."""

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trustme

from soboo_mta.cli.trial.world import World, free_ports
from tests.chaos.ready_world import DOMAIN, USER, ready_world
from tests.interop.running import Ended, run

PAGE = Path(__file__).parents[2] / "docs" / "http.md"
_HTTP = """
[[http_listeners]]
address = "127.0.0.1"
port = {clear}
tls = false

[[http_listeners]]
address = "127.0.0.1"
port = {tls}

[tls]
certificate_file = "{directory}/server.pem"
private_key_file = "{directory}/server.key"

[submission]
max_message_size = "1MiB"
"""
_MESSAGE = f"From: news@{DOMAIN}\nTo: ann@alpha.test\nSubject: a file\n\nHello.\n"


class Curl:
    """curl with the account of the world."""

    def __init__(self, place: World, clear: int, tls: int, authority: Path) -> None:
        self.place = place
        self.clear = f"http://127.0.0.1:{clear}"
        self.tls = f"https://127.0.0.1:{tls}"
        self.authority = authority

    async def __call__(self, *words: str) -> tuple[int, Any]:
        """Status and JSON of the last answer."""
        login = f"{USER}:{self.place.secrets[USER]}"
        ended = await run(
            *("curl", "-sS", "--max-time", "30", "-u", login),
            *("--cacert", self.authority, "-w", "\n%{http_code}", *words),
        )
        assert ended.code == 0, ended.text
        body, _, status = ended.out.rpartition("\n")
        return int(status), json.loads(body)

    async def shell(self, script: str, **words: str) -> Ended:
        """Run an example as a reader would, in a folder with a message.eml."""
        (self.place.directory / "message.eml").write_text(_MESSAGE)
        login = f"{USER}:{self.place.secrets[USER]}"
        return await run(
            *("sh", "-euc", f"cd {self.place.directory}\n{script}"),
            env={**os.environ, "URL": self.clear, "USER": login, **words},
        )


@asynccontextmanager
async def curling(directory: Path) -> AsyncIterator[Curl]:
    authority = trustme.CA()
    ours = authority.issue_cert("127.0.0.1")
    ours.private_key_pem.write_to_path(directory / "server.key")
    ours.cert_chain_pems[0].write_to_path(directory / "server.pem")
    authority.cert_pem.write_to_path(directory / "authority.pem")
    clear, tls = free_ports(2)
    extra = _HTTP.format(clear=clear, tls=tls, directory=directory)
    async with ready_world(directory / "world", extra=extra) as place:
        await place.start_relay()
        yield Curl(place, clear, tls, directory / "authority.pem")


async def test_the_examples_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    examples = re.findall(
        r"```sh\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    async with curling(tmp_path) as curl:
        answers = []
        for example in examples:
            last = answers[0]["id"] if answers else ""
            ended = await curl.shell(example, ID=last)
            assert ended.code == 0, ended.text
            answers.append(json.loads(ended.out))
        first, raw, batch, once, state = answers
        assert {one["code"] for one in (first, raw, once)} == {250}
        assert [one["http"] for one in batch["results"]] == [202, 403]
        assert state["id"] == first["id"]
        assert {one["recipient"] for one in state["recipients"]} == {
            "ann@alpha.test",
            "bea@beta.test",
        }
        again = json.loads((await curl.shell(examples[3])).out)
        assert again == once
        records = await curl.place.lab.wait_for(5)
        assert {record.verdict.dmarc for record in records} == {"pass"}
        assert len(records) == 5  # two, one, one and one


async def test_curl_sends_over_tls_and_hears_of_a_body_too_large(
    tmp_path: Path,
) -> None:
    async with curling(tmp_path) as curl:
        (tmp_path / "large").write_bytes(b"x" * 30_000_000)
        (tmp_path / "message").write_text(_MESSAGE)
        kind = ("-H", "Content-Type: message/rfc822", "--data-binary")
        url = f"{curl.tls}/v1/messages?to=ann@alpha.test"
        status, answer = await curl(url, *kind, f"@{tmp_path / 'message'}")
        assert (status, answer["code"]) == (202, 250)
        for words in ((), ("-H", "Expect: 100-continue"), ("--http1.0",)):
            status, answer = await curl(url, *kind, f"@{tmp_path / 'large'}", *words)
            assert (status, answer["code"]) == (413, 552), words
        status, answer = await curl(url, *kind, "x", "-H", "Transfer-Encoding: chunked")
        assert (status, answer["code"]) == (422, 554)
        (record,) = await curl.place.lab.wait_for(1)
        assert record.verdict.dmarc == "pass"
