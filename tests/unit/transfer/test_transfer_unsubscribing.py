"""The address by which a recipient leaves a stream: its own, and under the signature."""

import email
import re
from dataclasses import replace
from datetime import timedelta

import dkim
import pytest
import time_machine

from soboo_mta.formats.keys import generate_rsa
from soboo_mta.mail.ids import NO_STREAM, Stream
from soboo_mta.mail.outcome import Delivered
from soboo_mta.mail.spooled import Claimed, SpooledMessage
from soboo_mta.ports import HopAddress
from soboo_mta.transfer.departure import DepartureOptions, Departures
from soboo_mta.transfer.planning import Planner
from tests.fakes.clock import FakeClock
from tests.fakes.connector import (
    CONTENT,
    OPERATOR,
    SOURCE,
    FakeConnector,
    FakeIdentities,
    FakeLease,
    FakeSession,
    FakeTenant,
    a_message,
    a_signer,
    a_verp_signer,
)

HOP = HopAddress(host="mx", address=SOURCE.public_address, port=25)
PAIR = generate_rsa()
NEWS = Stream("news")
LIFE = timedelta(days=40)
FIELD = re.compile(
    r"<mailto:(u-[0-9a-v]{40})@bounce\.customer\.example\?subject=unsubscribe>"
)
TO = ("ann@there.example", "bob@there.example")


class Scene:
    """Departures of a tenant that wants such addresses in mail of `news`."""

    def __init__(self) -> None:
        self.connector, self.clock = FakeConnector(), FakeClock()
        self.identities = FakeIdentities(PAIR)
        self.identities.tenants["acme"] = FakeTenant(unsubscribe=frozenset((NEWS,)))
        operator = (OPERATOR, None)
        self.departures = Departures(
            planner=Planner(
                identities=self.identities, operator=lambda: operator, clock=self.clock
            ),
            verp=a_verp_signer(),
            signer=a_signer(),
            lease=FakeLease(),
            clock=self.clock,
            options=DepartureOptions(unsubscribe_life=LIFE),
        )

    async def go(
        self, message: SpooledMessage, position: int = 0, *, eight_bit: bool = True
    ) -> bytes:
        """Depart one recipient; return what left."""
        claimed = Claimed(message=message, position=position, attempts=0)
        session = FakeSession(self.connector, HOP, 100, takes_eight_bit=eight_bit)
        departed = await self.departures.depart(session, claimed, SOURCE, epoch=1)
        assert isinstance(departed.outcome, Delivered)
        return b"".join(self.connector.transactions[-1].octets)

    def is_signed(self, sent: bytes) -> bool:
        """By dkimpy, which computes every hash itself."""
        record = f"v=DKIM1; p={PAIR.p}".encode()
        with time_machine.travel(self.clock.now(), tick=False):
            return bool(dkim.verify(sent, dnsfunc=lambda *_, **__: record))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def news(*to: str, content: bytes = CONTENT, stream: Stream = NEWS) -> SpooledMessage:
    return replace(a_message(to=to or TO[:1], content=content), stream=stream)


def fields(sent: bytes) -> list[str]:
    return email.message_from_bytes(sent).get_all("List-Unsubscribe", [])


async def test_each_recipient_has_an_address_of_its_own_that_is_signed(scene: Scene):
    message, opened = news(*TO), []
    for position in range(2):
        sent = await scene.go(message, position)
        assert scene.is_signed(sent)
        assert sent.endswith(message.content)
        (value,) = fields(sent)
        local = FIELD.fullmatch(value)[1]
        host = scene.connector.transactions[-1].reverse_path.mailbox.domain
        now = scene.clock.unix_ms()
        token = a_verp_signer().open_unsubscribe(local, host, now)
        assert now + LIFE / timedelta(milliseconds=1) <= token.expires_at_ms
        opened.append((token.message, token.position))
        other = sent.replace(local.encode(), b"u-" + b"0" * 40)
        assert not scene.is_signed(other)
    assert opened == [(message.message_id, 0), (message.message_id, 1)]


async def test_the_form_for_old_hops_has_it_too(scene: Scene):
    header = CONTENT.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    message = replace(news(*TO, content=header + "Grüße\r\n".encode()), eight_bit=True)
    for position in range(2):
        sent = await scene.go(message, position, eight_bit=False)
        assert sent.isascii()
        assert scene.is_signed(sent)
        assert len(fields(sent)) == 1


@pytest.mark.parametrize("own", ["List-Unsubscribe", "LIST-UNSUBSCRIBE-POST"])
async def test_a_message_with_a_field_of_its_own_keeps_it(scene: Scene, own: str):
    line = f"{own}: <https://customer.example/u/1>\r\n".encode()
    message = news(content=line + CONTENT)
    sent = await scene.go(message)
    assert sent.endswith(message.content)
    assert b"mailto:u-" not in sent
    assert scene.is_signed(sent)


@pytest.mark.parametrize("stream", [NO_STREAM, Stream("receipts")])
async def test_other_mail_has_none(scene: Scene, stream: Stream):
    assert fields(await scene.go(news(stream=stream))) == []


async def test_where_the_reverse_path_is_not_ours_there_is_none(scene: Scene):
    scene.identities.change(bounce_ready=False, usable=(), spf_author=("one",))
    sent = await scene.go(news())
    assert scene.connector.transactions[-1].reverse_path.mailbox.local_part == "ann"
    assert fields(sent) == []


async def test_what_a_tenant_wants_counts_when_its_mail_departs(scene: Scene):
    message = news()
    assert len(fields(await scene.go(message))) == 1
    scene.identities.tenants["acme"] = FakeTenant()
    scene.identities.generation += 1
    assert fields(await scene.go(message)) == []
