"""Signed addresses: round trip, forgery, expiry, key change, and one use each."""

import hmac
import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.formats.verp import ReturnToken, VerpSigner
from soboo_mta.mail.address import parse_mailbox
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.ids import MessageId
from tests.examples import examples

HOUR = 3_600_000
NOW = 500_000 * HOUR
BOUNCE = Domain.parse("bounce.customer.example")
OTHER = Domain.parse("bounce.other.example")
KEY = b"k" * 32
SIGNER = VerpSigner({3: KEY}, 3)
_MESSAGES = st.integers(0, (1 << 63) - 1).map(MessageId)
_POSITIONS = st.integers(0, 65_535)
_BASE32 = "0123456789abcdefghijklmnopqrstuv"


def token_of(position: int = 7) -> str:
    message = MessageId(1 << 62 | 12_345)
    return SIGNER.address(message, position, NOW + HOUR, BOUNCE).local_part


@given(_MESSAGES, _POSITIONS, st.integers(NOW + 1, NOW + 1_000 * HOUR))
def test_what_was_made_opens_to_the_same(
    message: MessageId, position: int, expires: int
) -> None:
    address = SIGNER.address(message, position, expires, BOUNCE)
    opened = SIGNER.open(address.local_part, address.domain, NOW)
    assert opened == ReturnToken(message, position, -(-expires // HOUR) * HOUR)
    assert parse_mailbox(str(address)) == address
    assert len(address.local_part) == 42
    assert address.local_part == address.local_part.lower()


def test_case_095_letters_may_change_case_on_the_way() -> None:
    assert SIGNER.open(token_of().upper(), BOUNCE, NOW) is not None


@examples(1_000)
@given(st.integers(2, 41), st.sampled_from(_BASE32))
def test_no_token_with_one_letter_changed_opens(at: int, letter: str) -> None:
    token = token_of()
    changed = token[:at] + letter + token[at + 1 :]
    assert (SIGNER.open(changed, BOUNCE, NOW) is None) == (changed != token)


@given(st.text(alphabet=_BASE32, min_size=40, max_size=40))
def test_no_made_up_token_opens(letters: str) -> None:
    assert SIGNER.open(f"b-{letters}", BOUNCE, NOW) is None


@given(st.text(max_size=60))
def test_any_text_opens_to_nothing_without_an_error(text: str) -> None:
    assert SIGNER.open(text, BOUNCE, NOW) is None
    assert SIGNER.open("b-" + text, BOUNCE, NOW) is None


@pytest.mark.parametrize("change", ["{}x", " {}", "{}\n", "c{}", "{}=", "+{}"])
def test_nothing_may_stand_around_a_token(change: str) -> None:
    assert SIGNER.open(change.format(token_of()), BOUNCE, NOW) is None


@pytest.mark.parametrize("letter", ["_", "٣", " ", "w", "K"])
def test_only_letters_of_the_alphabet_count(letter: str) -> None:
    token = token_of()
    assert SIGNER.open(token[:20] + letter + token[21:], BOUNCE, NOW) is None


def test_a_token_opens_under_its_own_bounce_domain_alone() -> None:
    assert SIGNER.open(token_of(), OTHER, NOW) is None


def test_a_token_is_of_one_key() -> None:
    assert VerpSigner({3: b"x" * 32}, 3).open(token_of(), BOUNCE, NOW) is None


def test_a_token_ends_at_its_hour() -> None:
    assert SIGNER.open(token_of(), BOUNCE, NOW + HOUR - 1) is not None
    assert SIGNER.open(token_of(), BOUNCE, NOW + HOUR) is None


def test_tokens_of_an_older_key_open_while_it_is_kept() -> None:
    both = VerpSigner({3: KEY, 4: b"n" * 32}, 4)
    fresh = both.address(MessageId(1), 0, NOW + HOUR, BOUNCE)
    assert both.open(token_of(), BOUNCE, NOW) is not None
    assert both.open(fresh.local_part, BOUNCE, NOW) is not None
    assert SIGNER.open(fresh.local_part, BOUNCE, NOW) is None


@given(st.binary(min_size=1, max_size=100))
def test_the_mac_is_hmac_sha256_over_payload_and_domain(key: bytes) -> None:
    token = VerpSigner({0: key}, 0).address(MessageId(9), 1, NOW, BOUNCE).local_part
    octets = int(token[2:], 32).to_bytes(25)
    text = octets[:14] + BOUNCE.encode()
    assert hmac.new(key, text, sha256).digest()[:11] == octets[14:]


def test_what_cannot_be_held_is_refused() -> None:
    with pytest.raises(OverflowError):
        token_of(position=65_536)
    with pytest.raises(ValueError, match="version 1"):
        VerpSigner({0: KEY}, 1)
    with pytest.raises(ValueError, match="0 to 31"):
        VerpSigner({0: KEY, 32: KEY}, 0)


# ---- addresses that unsubscribe


def unsubscribing(position: int = 7, message: int = 1 << 62 | 12_345) -> str:
    made = SIGNER.unsubscribe_address(MessageId(message), position, NOW + HOUR, BOUNCE)
    return made.local_part


@given(_MESSAGES, _POSITIONS, st.integers(NOW + 1, NOW + 1_000 * HOUR))
def test_an_unsubscribe_address_opens_to_its_recipient_and_is_no_reverse_path(
    message: MessageId, position: int, expires: int
) -> None:
    address = SIGNER.unsubscribe_address(message, position, expires, BOUNCE)
    opened = SIGNER.open_unsubscribe(address.local_part.upper(), BOUNCE, NOW)
    assert opened == ReturnToken(message, position, -(-expires // HOUR) * HOUR)
    assert re.fullmatch(r"u-[0-9a-v]{40}", address.local_part)
    assert SIGNER.open(address.local_part, BOUNCE, NOW) is None


@given(_MESSAGES, _POSITIONS)
def test_letters_of_one_use_open_as_no_other(message: MessageId, position: int) -> None:
    given_to = (message, position, NOW + HOUR, BOUNCE)
    path = SIGNER.address(*given_to).local_part
    wish = SIGNER.unsubscribe_address(*given_to).local_part
    assert path[2:] != wish[2:]
    assert SIGNER.open_unsubscribe(path, BOUNCE, NOW) is None
    assert SIGNER.open_unsubscribe("u-" + path[2:], BOUNCE, NOW) is None
    assert SIGNER.open("b-" + wish[2:], BOUNCE, NOW) is None


@examples(1_000)
@given(st.integers(0, 41), st.sampled_from(_BASE32 + "-"))
def test_no_unsubscribe_address_with_one_letter_changed_opens(
    at: int, letter: str
) -> None:
    token = unsubscribing()
    changed = token[:at] + letter + token[at + 1 :]
    opened = SIGNER.open_unsubscribe(changed, BOUNCE, NOW)
    assert (opened is None) == (changed != token)


@given(st.text(max_size=60))
def test_any_text_unsubscribes_nobody_without_an_error(text: str) -> None:
    assert SIGNER.open_unsubscribe(text, BOUNCE, NOW) is None
    assert SIGNER.open_unsubscribe("u-" + text, BOUNCE, NOW) is None


def test_an_unsubscribe_address_is_of_its_host_its_hour_and_its_key() -> None:
    token = unsubscribing()
    assert SIGNER.open_unsubscribe(token, BOUNCE, NOW + HOUR - 1) is not None
    assert SIGNER.open_unsubscribe(token, BOUNCE, NOW + HOUR) is None
    assert SIGNER.open_unsubscribe(token, OTHER, NOW) is None
    stranger = VerpSigner({3: b"x" * 32}, 3)
    assert stranger.open_unsubscribe(token, BOUNCE, NOW) is None
