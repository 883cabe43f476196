"""The setup page: what its link opens, what it shows, and what it never does."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import httpx
import pytest
from fastapi import FastAPI

from soboo_mta.identity.records import required_records
from soboo_mta.identity.state import (
    Mode,
    RecordCheck,
    RecordStatus,
    RequiredRecord,
)
from soboo_mta.mail.ids import DomainId
from soboo_mta.store.unit import StoreUnavailable
from soboo_mta.tenancy.secrets import MasterKey
from soboo_mta.tenancy.setup_link import Click, SetupLinks
from soboo_mta.web.setup.pages import Setup, setup_routes
from tests.fakes.clock import START, FakeClock
from tests.fakes.domains import OPERATOR, SETTINGS

LINKS = SetupLinks(MasterKey(bytes(32)).setup_key())
NOW = int(START.timestamp())
DAY = 24 * 3_600


def check(
    record: RequiredRecord, status: RecordStatus = RecordStatus.GOOD, **values: str
) -> RecordCheck:
    return RecordCheck(
        record=record,
        status=status,
        found=values.get("found", ""),
        cause=values.get("cause", ""),
        mend=values.get("mend", ""),
        ttl=60,
        checked_at=NOW * 1_000,
        good_at=None,
    )


@dataclass
class Book:
    """One domain; remembers what it was asked."""

    found: Setup | None
    asked: list[DomainId] = field(default_factory=list)
    is_away: bool = False

    async def look(self, domain_id: DomainId) -> Setup | None:
        if self.is_away:
            raise StoreUnavailable("gone")
        return self.found if domain_id == SETTINGS.domain_id else None

    async def check_soon(self, domain_id: DomainId) -> None:
        self.asked.append(domain_id)


def setup(**changes: object) -> Setup:
    plain: dict[str, object] = {
        "settings": SETTINGS,
        "checks": (),
        "verified_at": None,
        "next_check_at": 0,
    }
    return Setup(**(plain | changes))  # type: ignore[arg-type]  # a test's shorthand


@pytest.fixture
def book() -> Book:
    return Book(setup())


@pytest.fixture
async def client(book: Book, clock: FakeClock) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(
        setup_routes(book=book, links=LINKS, operator=lambda: OPERATOR, clock=clock)
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://t") as made:
        yield made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def token(until: int = NOW + DAY, domain: int = SETTINGS.domain_id) -> str:
    return LINKS.token(DomainId(domain), until=until)


async def test_the_link_shows_every_record_with_its_name_and_value(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get(f"/setup/{token()}")
    assert page.status_code == 200
    for record in required_records(SETTINGS, OPERATOR):
        assert record.owner in page.text
        assert record.value in page.text
    assert "0 of 4 are right" in page.text
    assert "Not looked at yet" in page.text


async def test_what_is_wrong_is_said_with_what_to_do_and_counted(
    client: httpx.AsyncClient, book: Book
) -> None:
    first, *others = required_records(SETTINGS, OPERATOR)
    wrong = check(
        first,
        RecordStatus.WRONG,
        found="CNAME <b>elsewhere</b>.",
        cause="it leads to elsewhere",
        mend="replace it",
    )
    book.found = setup(checks=(wrong, *map(check, others)))
    page = (await client.get(f"/setup/{token()}")).text
    assert "3 of 4 are right" in page
    assert "it leads to elsewhere.<br>To mend it: replace it" in page
    assert "CNAME &lt;b&gt;elsewhere&lt;/b&gt;." in page
    book.found = setup(checks=(check(first), *map(check, others)))
    assert "All 4 are right" in (await client.get(f"/setup/{token()}")).text


async def test_a_long_text_is_shown_in_pieces_too(
    client: httpx.AsyncClient, book: Book
) -> None:
    book.found = setup(settings=replace(SETTINGS, mode=Mode.MANUAL))
    page = (await client.get(f"/setup/{token()}")).text
    assert "In pieces" in page
    assert page.count("&#34; &#34;") >= 1


async def test_a_check_that_is_of_another_value_says_nothing_of_this_one(
    client: httpx.AsyncClient, book: Book
) -> None:
    first = required_records(SETTINGS, OPERATOR)[0]
    book.found = setup(checks=(check(replace(first, value="old.esp.example.")),))
    assert "0 of 4 are right" in (await client.get(f"/setup/{token()}")).text


@pytest.mark.parametrize(
    "spoilt",
    [
        token(until=NOW),
        token(domain=8),
        "x" * 39,
        "",
        "é",
        token()[:-1],
        token()[:-1] + ("0" if token()[-1] != "0" else "1"),
        SetupLinks(b"another key").token(SETTINGS.domain_id, until=NOW + DAY),
    ],
)
async def test_a_link_that_ended_or_was_made_up_opens_nothing(
    client: httpx.AsyncClient, book: Book, spoilt: str
) -> None:
    for path in (f"/setup/{spoilt}", f"/setup/{spoilt}/zone.txt"):
        page = await client.get(path)
        assert page.status_code == 404
        assert SETTINGS.name not in page.text
    assert (await client.post(f"/setup/{spoilt}/check")).status_code == 404
    assert book.asked == []


async def test_a_link_ends_with_its_domain(
    client: httpx.AsyncClient, book: Book
) -> None:
    book.found = None
    page = await client.get(f"/setup/{token()}")
    assert page.status_code == 404
    assert "not there any more" in page.text


async def test_a_store_that_is_away_is_said_to_be_no_fault_of_the_records(
    client: httpx.AsyncClient, book: Book
) -> None:
    book.is_away = True
    page = await client.get(f"/setup/{token()}")
    assert page.status_code == 503
    assert "Nothing is wrong with your records" in page.text


async def test_look_now_asks_for_a_look_and_comes_back(
    client: httpx.AsyncClient, book: Book
) -> None:
    answer = await client.post(f"/setup/{token()}/check")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/setup/{token()}"
    assert book.asked == [SETTINGS.domain_id]


async def test_looks_asked_for_in_haste_are_one(
    client: httpx.AsyncClient, book: Book, clock: FakeClock
) -> None:
    (record, *_) = required_records(SETTINGS, OPERATOR)
    book.found = setup(checks=(check(record),))  # looked at now

    in_haste = await client.post(f"/setup/{token()}/check")
    clock.advance(5)
    await client.post(f"/setup/{token()}/check")

    assert in_haste.status_code == 303
    assert book.asked == [SETTINGS.domain_id]


async def test_the_records_come_as_zone_file_text(client: httpx.AsyncClient) -> None:
    page = await client.get(f"/setup/{token()}/zone.txt")
    assert page.headers["content-type"].startswith("text/plain")
    for record in required_records(SETTINGS, OPERATOR):
        assert f"{record.owner}. IN {record.kind} " in page.text


async def test_nothing_keeps_or_tells_on_the_address_and_nothing_foreign_runs(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get(f"/setup/{token()}")
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<style" not in page.text
    for name, kind in (("setup.css", "text/css"), ("setup.js", "text/javascript")):
        answer = await client.get(f"/setup/_/{name}")
        assert answer.headers["content-type"].startswith(kind)
    assert (await client.get("/setup/_/pages.py")).status_code == 404
    assert (await client.get("/setup/_/..%2Fpages.py")).status_code == 404


async def test_the_page_says_where_to_enter_the_records(
    client: httpx.AsyncClient,
) -> None:
    page = (await client.get(f"/setup/{token()}?dns=route53")).text
    assert "Amazon Route 53: console &gt; Route 53" in page
    answer = await client.post(f"/setup/{token()}/check?dns=route53")
    assert answer.headers["location"] == f"/setup/{token()}?dns=route53"


async def test_a_dns_host_made_up_shows_nothing(client: httpx.AsyncClient) -> None:
    page = await client.get(f"/setup/{token()}", params={"dns": "<b>gone</b>"})
    assert page.status_code == 200
    assert "<b>gone</b>" not in page.text
    assert "Where to enter" not in page.text
    answer = await client.post(f"/setup/{token()}/check", params={"dns": "a&b=c"})
    assert answer.headers["location"] == f"/setup/{token()}?dns=a%26b%3Dc"


CLICK = Click(
    name="The <Provider>", url="https://dns.example/ux/v2/apply?domain=a.b&sig=x%2By"
)


async def test_the_page_has_a_button_where_the_link_carries_an_address(
    client: httpx.AsyncClient, book: Book
) -> None:
    query = {"dns": "gandi", "apply": LINKS.carry(token(), CLICK)}
    page = (await client.get(f"/setup/{token()}", params=query)).text
    assert "Publish them at The &lt;Provider&gt;</a>" in page
    href = CLICK.url.replace("&", "&amp;")
    assert f'<a class="click" href="{href}" target="_blank" rel="noopener' in page
    answer = await client.post(f"/setup/{token()}/check", params=query)
    back = answer.headers["location"]
    assert "Publish them at" in (await client.get(back)).text
    assert "is at Gandi" in (await client.get(back)).text
    book.found = setup(checks=tuple(map(check, required_records(SETTINGS, OPERATOR))))
    assert "Publish them at" not in (await client.get(back)).text


@pytest.mark.parametrize(
    "letters",
    [
        "x",
        "é",
        "A" * 400,
        LINKS.carry(token(until=NOW + 2 * DAY), CLICK),
        LINKS.carry(token(), CLICK)[:-4] + "AAAA",
        SetupLinks(b"another key").carry(token(), CLICK),
    ],
)
async def test_an_address_that_the_link_did_not_carry_is_no_button(
    client: httpx.AsyncClient, letters: str
) -> None:
    page = await client.get(f"/setup/{token()}", params={"apply": letters})
    assert page.status_code == 200
    assert "dns.example" not in page.text
    assert "By one click" not in page.text


async def test_what_a_link_carries_is_bounded(client: httpx.AsyncClient) -> None:
    page = await client.get(f"/setup/{token()}", params={"apply": "A" * 4_001})
    assert page.status_code == 422
