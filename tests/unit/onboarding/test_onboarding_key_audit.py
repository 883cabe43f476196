"""What is wrong with keys: size, exponent, age, reuse, publication, succession."""

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from soboo_mta.formats.keys import generate_ed25519, generate_rsa
from soboo_mta.identity.records import key_text
from soboo_mta.identity.state import (
    Algorithm,
    DomainSettings,
    KeyState,
    Mode,
    PublicKey,
)
from soboo_mta.mail.ids import DomainId, KeyId
from soboo_mta.onboarding.watch.key_audit import (
    AuditedKey,
    AuditOptions,
    Weakness,
    audit,
)
from soboo_mta.ports import Answer, Found, NoName, Unanswered
from soboo_mta.tenancy.signing.key_history import KeyHistory
from tests.fakes.domains import SETTINGS, key

DAY = 24 * 3600 * 1000
NOW = 1_000 * DAY
OPTIONS = AuditOptions(drain=8 * DAY)
GOOD, OTHER = generate_rsa().p, generate_rsa().p


def history(one: PublicKey, **values: object) -> KeyHistory:
    plain: dict[str, object] = {
        "key": one,
        "settings": SETTINGS,
        "created_at": NOW - 10 * DAY,
        "activated_at": NOW - 10 * DAY,
        "retired_at": None,
        "revoked_at": None,
        "is_current": True,
    }
    return KeyHistory(**(plain | values))  # type: ignore[arg-type]  # a test's shorthand


ACTIVE = history(key(1, "sb1", p=GOOD))
NEXT = history(key(2, "sb2", KeyState.NEXT, p=OTHER), activated_at=None)


def served(*texts: str) -> Answer:
    return Found(records=texts, chain=(), ttl=300)


def judged(*histories: KeyHistory, **answers: Answer) -> tuple[AuditedKey, ...]:
    """`answers`: by selector; what is not named is published as it should be."""
    found = {
        one.key.key_id: answers.get(str(one.key.selector), served(key_text(one.key)))
        for one in histories
    }
    return audit(histories, found, now=NOW, options=OPTIONS)


def weaknesses(one: AuditedKey) -> list[Weakness]:
    return [finding.weakness for finding in one.findings]


def test_good_keys_have_no_findings() -> None:
    active, ready = judged(ACTIVE, NEXT)
    assert (active.findings, active.bits, active.published) == ((), 2_048, True)
    assert (ready.findings, ready.published) == ((), True)


def test_a_small_key_is_weak() -> None:
    weak = replace(ACTIVE, key=key(1, "sb1", p=generate_rsa(1_024).p))
    (found, _) = judged(weak, NEXT)
    assert weaknesses(found) == [Weakness.WEAK]
    (told,) = found.findings
    assert told.sentence == "1024 bits: signers should use 2048"
    assert told.mend.endswith(": soboo-mta key rotate customer.com")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (KeyState.NEXT, "soboo-mta key revoke 5"),
        (KeyState.RETIRING, "it goes by itself"),
    ],
)
def test_what_to_do_depends_on_where_the_key_stands(
    state: KeyState, words: str
) -> None:
    weak = key(5, "sb3", state, p=generate_rsa(1_024).p)
    (told,) = judged(ACTIVE, history(weak, retired_at=NOW), NEXT)[1].findings
    assert words in told.mend


def test_what_receivers_refuse_and_what_is_no_key_at_all() -> None:
    broken = replace(ACTIVE, key=key(1, "sb1", p="QUJD"))
    (found, _) = judged(broken, NEXT)
    assert weaknesses(found) == [Weakness.REFUSED]
    assert found.bits == 0


def test_a_small_exponent_is_told() -> None:
    public = rsa.generate_private_key(3, 2_048).public_key()
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    small = replace(ACTIVE, key=key(1, "sb1", p=base64.b64encode(der).decode()))
    (found, _) = judged(small, NEXT)
    assert weaknesses(found) == [Weakness.EXPONENT]
    assert "exponent is 3" in found.findings[0].sentence


def test_ed25519_is_strong_and_needs_no_next_one() -> None:
    beside = history(key(3, "sb4", algorithm=Algorithm.ED25519, p=generate_ed25519().p))
    assert [one.findings for one in judged(ACTIVE, NEXT, beside)] == [(), (), ()]


def test_a_key_that_signs_for_too_long_is_old() -> None:
    limit = replace(ACTIVE, activated_at=NOW - 180 * DAY)
    assert judged(limit, NEXT)[0].findings == ()
    over = replace(ACTIVE, activated_at=NOW - 181 * DAY)
    assert weaknesses(judged(over, NEXT)[0]) == [Weakness.OLD]
    beside = key(3, "sb4", algorithm=Algorithm.ED25519, p=generate_ed25519().p)
    aged = history(beside, activated_at=over.activated_at)
    (told,) = judged(ACTIVE, NEXT, aged)[2].findings
    assert told.mend.startswith("soboo-mta key rotate customer.com --emergency")


def test_one_key_at_two_places_is_told_at_both() -> None:
    elsewhere: DomainSettings = replace(SETTINGS, domain_id=DomainId(8))
    again = history(key(3, "x1", p=GOOD), settings=elsewhere)
    ready = history(key(4, "x2", KeyState.NEXT, p=generate_rsa().p), settings=elsewhere)
    first, _, second, _ = judged(ACTIVE, NEXT, again, ready)
    assert weaknesses(first) == weaknesses(second) == [Weakness.REUSED]
    assert "key 3 of customer.com (acme)" in first.findings[0].sentence


def test_a_revoked_key_that_came_back_is_told() -> None:
    gone = history(key(9, "sb3", KeyState.WITHDRAWN, p=GOOD), is_current=False)
    found = judged(gone, ACTIVE, NEXT)
    assert len(found) == 2
    assert weaknesses(found[0]) == [Weakness.REUSED]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (NoName(chain=(), ttl=60), "DNS has no such record"),
        (served(f"v=DKIM1; k=rsa; t=y; p={GOOD}"), "t=y makes receivers"),
        (served(f"v=DKIM1; k=rsa; s=tlsrpt; p={GOOD}"), "s= does not allow e-mail"),
        (served(f"v=DKIM1; k=rsa; h=sha1; p={GOOD}"), "h= does not allow sha256"),
        (served("v=DKIM1; k=rsa; p="), "its p= is empty"),
        (served(f"v=DKIM1; p={OTHER}"), "its p= is another key"),
    ],
)
def test_what_stops_receivers_is_said(answer: Answer, words: str) -> None:
    (found, _) = judged(ACTIVE, NEXT, sb1=answer)
    assert weaknesses(found) == [Weakness.UNPUBLISHED]
    assert words in found.findings[0].sentence
    assert found.published is False


def test_a_signature_of_the_domain_itself_is_not_hurt_by_t_s() -> None:
    (found, _) = judged(ACTIVE, NEXT, sb1=served(f"v=DKIM1; t=s; p={GOOD}"))
    assert found.findings == ()


def test_silence_of_dns_tells_nothing() -> None:
    (found, _) = judged(ACTIVE, NEXT, sb1=Unanswered(cause="SERVFAIL"))
    assert (found.findings, found.published) == ((), None)


def test_a_revoked_key_is_to_be_gone_from_dns() -> None:
    gone = history(key(3, "sb3", KeyState.REVOKED, p=generate_rsa().p))
    empty, nothing = served("v=DKIM1; k=rsa; p="), NoName(chain=(), ttl=60)
    for answer in (empty, nothing):
        assert judged(ACTIVE, NEXT, gone, sb3=answer)[2].findings == ()
    there = judged(ACTIVE, NEXT, gone, sb3=served(f"v=DKIM1; p={gone.key.p}"))[2]
    assert weaknesses(there) == [Weakness.STILL_PUBLISHED]


def test_a_retired_key_is_to_be_revoked_in_time() -> None:
    old = history(
        key(3, "sb3", KeyState.RETIRING, p=generate_rsa().p), retired_at=NOW - 9 * DAY
    )
    assert judged(ACTIVE, NEXT, old)[2].findings == ()
    late = replace(old, retired_at=NOW - 9 * DAY - 1)
    assert weaknesses(judged(ACTIVE, NEXT, late)[2]) == [Weakness.NOT_REVOKED]
    (left,) = judged(ACTIVE, NEXT, replace(old, retired_at=None))[2].findings
    assert left.mend == "once no worker uses it: soboo-mta key revoke 3"


def test_an_emergency_needs_a_next_key_unless_the_customer_makes_it() -> None:
    (found,) = judged(ACTIVE)
    assert weaknesses(found) == [Weakness.NO_NEXT]
    by_hand = replace(SETTINGS, mode=Mode.MANUAL)
    assert judged(replace(ACTIVE, settings=by_hand))[0].findings == ()
    own = replace(ACTIVE, settings=None)
    assert weaknesses(judged(own, NEXT)[0]) == [Weakness.NO_NEXT]
    assert ACTIVE.key.key_id == KeyId(1)
