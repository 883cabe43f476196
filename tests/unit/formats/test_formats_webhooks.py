"""Signatures of webhooks against the specification's own example and another reader."""

import pytest

from soboo_mta.formats.webhooks import SigningSecret, signed_fields
from soboo_mta.mail.errors import FormatError
from tests.fakes.receiver import Got, verified

# The example of the libraries of Standard Webhooks.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EXAMPLE = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_specifications_example_has_its_signature() -> None:
    assert SigningSecret.parse(SECRET).signature(*EXAMPLE) == SIGNATURE


def test_case_089_another_reader_verifies_with_each_of_two_secrets_and_with_no_third() -> (
    None
):
    old, new, other = (SigningSecret.generate() for _ in range(3))
    body = b'{"id":"evt_1"}'
    got = Got("/", signed_fields("evt_1", 1_000, body, (new, old)), body)
    assert verified(got, new.reveal(), now=1_010)
    assert verified(got, old.reveal(), now=1_010)
    assert not verified(got, other.reveal(), now=1_010)
    assert not verified(got, new.reveal(), now=2_000)
    changed = Got("/", got.fields, b'{"id":"evt_2"}')
    assert not verified(changed, new.reveal(), now=1_010)


def test_a_secret_is_read_back_and_shown_nowhere() -> None:
    secret = SigningSecret.generate()
    assert SigningSecret.parse(secret.reveal()).reveal() == secret.reveal()
    assert secret.reveal() not in f"{secret!r} {secret}"


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_AAAA", "whsec_?", "pässword"])
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        SigningSecret.parse(text)
