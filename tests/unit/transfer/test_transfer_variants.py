"""8-bit messages on hops without 8BITMIME: another form, another hash, signed as it leaves."""

import asyncio
import email
from dataclasses import replace

import dkim
import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soboo_mta.formats.keys import generate_rsa
from soboo_mta.mail.outcome import Delivered, Failed
from soboo_mta.mail.spooled import Claimed, SpooledMessage
from soboo_mta.ports import HopAddress
from soboo_mta.transfer.departure import Departed, Departures
from soboo_mta.transfer.leaving.variants import VariantOptions, Variants
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
    a_message,
    a_signer,
    a_verp_signer,
)

HOP = HopAddress(host="mx", address=SOURCE.public_address, port=25)
PAIR = generate_rsa()
HEADER = CONTENT.partition(b"\r\n\r\n")[0] + b"\r\n"
TEXT = "Grüße aus dem schönen, aber an Umlauten armen Ort.\r\n.\r\n".encode()


def an_8_bit_message(body: bytes = TEXT, **rest: object) -> SpooledMessage:
    message = a_message(content=HEADER + b"\r\n" + body, **rest)
    return replace(message, eight_bit=True)


class Scene:
    """Departures whose hop offers 8BITMIME or does not."""

    def __init__(self) -> None:
        self.connector, self.clock = FakeConnector(), FakeClock()
        operator = (OPERATOR, None)
        self.departures = Departures(
            planner=Planner(
                identities=FakeIdentities(PAIR),
                operator=lambda: operator,
                clock=self.clock,
            ),
            verp=a_verp_signer(),
            signer=a_signer(),
            lease=FakeLease(),
            clock=self.clock,
        )

    async def go(
        self, message: SpooledMessage, position: int = 0, *, takes: bool = False
    ) -> Departed:
        claimed = Claimed(message=message, position=position, attempts=0)
        session = FakeSession(self.connector, HOP, 100, takes_eight_bit=takes)
        return await self.departures.depart(session, claimed, SOURCE, epoch=1)

    def sent(self) -> bytes:
        return b"".join(self.connector.transactions[-1].octets)

    def is_signed(self) -> bool:
        """By dkimpy, which computes every hash itself."""
        record = f"v=DKIM1; p={PAIR.p}".encode()
        with time_machine.travel(self.clock.now(), tick=False):
            return dkim.verify(self.sent(), dnsfunc=lambda *_, **__: record)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_where_the_hop_takes_8_bits_nothing_is_encoded(scene: Scene):
    message = an_8_bit_message()
    assert isinstance((await scene.go(message, takes=True)).outcome, Delivered)
    assert scene.connector.transactions[-1].eight_bit
    assert scene.sent().endswith(message.content)
    assert scene.is_signed()


async def test_case_028_elsewhere_it_leaves_in_7_bits_with_a_signature_of_its_own(
    scene: Scene,
):
    assert isinstance((await scene.go(an_8_bit_message())).outcome, Delivered)
    assert not scene.connector.transactions[-1].eight_bit
    assert scene.sent().isascii()
    assert email.message_from_bytes(scene.sent()).get_payload(decode=True) == TEXT
    assert scene.is_signed()


async def test_recipients_on_both_kinds_of_hops_each_get_a_good_signature(scene: Scene):
    message = an_8_bit_message(to=("a@there.example", "b@there.example"))
    for takes in (True, False, True, False):
        await scene.go(message, int(takes), takes=takes)
        assert scene.sent().isascii() is not takes
        assert scene.is_signed()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (HEADER.replace(b"hello", b"h\xe9llo") + b"\r\nx\r\n", "5.6.7"),
        (
            HEADER + b"Content-Type: multipart/signed; boundary=b\r\n\r\n"
            b"--b\r\n\r\ncaf\xe9\r\n--b--\r\n",
            "5.6.3",
        ),
    ],
)
async def test_case_021_what_has_no_such_form_fails_and_says_why(
    scene: Scene, content: bytes, status: str
):
    message = replace(a_message(content=content), eight_bit=True)
    outcome = (await scene.go(message)).outcome
    assert isinstance(outcome, Failed)
    assert str(outcome.reply).startswith(f"554 {status} ")
    assert scene.connector.transactions == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.text(
            st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]),
            max_size=120,
        ),
        min_size=1,
        max_size=8,
    )
)
def test_every_text_is_good_to_dkimpy_and_reads_as_it_did(lines: list[str]):
    scene, body = Scene(), ("\r\n".join(lines) + "\r\n").encode()
    message = replace(an_8_bit_message(body), eight_bit=True)
    asyncio.run(scene.go(message))
    assert scene.sent().isascii()
    assert email.message_from_bytes(scene.sent()).get_payload(decode=True) == body
    assert scene.is_signed()


async def test_a_variant_is_made_once_for_all_recipients():
    variants = Variants()
    message = an_8_bit_message(to=("a@there.example", "b@there.example"))
    first = await variants.seven_bit(message)
    assert await variants.seven_bit(message) is first
    alone = an_8_bit_message(number=2)
    assert await variants.seven_bit(alone) is not await variants.seven_bit(alone)


async def test_a_large_one_is_made_once_though_many_ask_at_a_time():
    variants = Variants(VariantOptions(thread_over=1_000))
    message = an_8_bit_message(TEXT * 1_000, to=("a@there.example", "b@there.example"))
    made = await asyncio.gather(*(variants.seven_bit(message) for _ in range(8)))
    assert all(one is made[0] for one in made)


async def test_variants_in_memory_are_bounded():
    variants = Variants(VariantOptions(kept=10_000))
    to = ("a@there.example", "b@there.example")
    first = await variants.seven_bit(an_8_bit_message(TEXT * 100, number=1, to=to))
    await variants.seven_bit(an_8_bit_message(TEXT * 100, number=2, to=to))
    again = await variants.seven_bit(an_8_bit_message(TEXT * 100, number=1, to=to))
    assert again == first
    assert again is not first
