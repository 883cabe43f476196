"""Signing keys and signed addresses, read back as a DNS host reads them."""

import base64
import random
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from soboo_mta.identity.state import Mode
from soboo_mta.mail.domain import Domain
from soboo_mta.onboarding.connect.apply import apply_url
from soboo_mta.onboarding.connect.keys import ConnectKey, ConnectKeys, published
from soboo_mta.ports import Unanswered
from soboo_mta.tenancy.secrets import MasterKey, SecretError
from tests.fakes.dns import FakeResolver
from tests.fakes.domains import OPERATOR, SETTINGS

MASTER = MasterKey(bytes(32))
DOMAIN = Domain("domainconnect.esp.example")
APEX = Domain("customer.com")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> ConnectKey:
    return ConnectKeys(tmp_path_factory.mktemp("var"), MASTER).make()


def public_key(texts: tuple[str, ...]) -> rsa.RSAPublicKey:
    """The key that TXT records hold, in whatever order DNS gives them."""
    shuffled = random.sample(texts, len(texts))
    pieces: dict[int, str] = {}
    for text in shuffled:
        found = re.fullmatch(r"p=(\d+),a=RS256,d=([A-Za-z0-9+/=]+)", text)
        assert found is not None
        pieces[int(found[1])] = found[2]
    joined = "".join(pieces[number] for number in sorted(pieces))
    read = serialization.load_der_public_key(base64.b64decode(joined, validate=True))
    assert isinstance(read, rsa.RSAPublicKey)
    return read


def verify(url: str, texts: tuple[str, ...]) -> None:
    """As a DNS host: the query as it came, without sig and key; raises where it is wrong."""
    query = urlsplit(url).query
    kept = "&".join(p for p in query.split("&") if p[:4] not in ("sig=", "key="))
    sig = base64.b64decode(unquote(re.search(r"[&?]sig=([^&]+)", url)[1]))  # type: ignore[index]
    public_key(texts).verify(sig, kept.encode(), padding.PKCS1v15(), hashes.SHA256())


def url(key: ConnectKey, **changes: object) -> str:
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]  # test shorthand
    return apply_url(
        "https://dns.example/connect",
        settings,
        OPERATOR,
        apex=APEX,
        groups=("bounce", "dkim"),
        key=key,
    )


def test_the_public_half_is_in_parts_that_dns_takes(key: ConnectKey) -> None:
    assert len(key.texts) >= 2
    assert all(len(text) <= 255 for text in key.texts)
    assert public_key(key.texts).key_size == 2048
    assert key.owner(DOMAIN) == "_dck1.domainconnect.esp.example"


def test_a_signed_address_is_verified_by_the_key_from_dns(key: ConnectKey) -> None:
    made = url(key)
    verify(made, key.texts)
    parts = urlsplit(made)
    assert parts.path == (
        "/connect/v2/domainTemplates/providers/esp.example/services/soboo-cname/apply"
    )
    assert parse_qs(parts.query)["key"] == ["_dck1"]
    assert made.startswith("https://dns.example/connect/v2/")
    values = {k: v[0] for k, v in parse_qs(parts.query).items() if k != "sig"}
    assert values == {
        "domain": "customer.com",
        "token": "tok7",
        "groupId": "bounce,dkim",
        "key": "_dck1",
    }
    assert "%2C" in parts.query  # signed as it is sent: encoded


def test_any_change_of_the_address_breaks_the_signature(key: ConnectKey) -> None:
    made = url(key)
    for old, new in (("tok7", "tok8"), ("%2C", ","), ("customer.com", "other.com")):
        with pytest.raises(InvalidSignature):
            verify(made.replace(old, new), key.texts)
    with pytest.raises(InvalidSignature):
        verify(made.replace("?", "?host=www&"), key.texts)


def test_a_domain_below_its_zone_is_the_host(key: ConnectKey) -> None:
    made = url(key, name=Domain("a.news.customer.com"))
    verify(made, key.texts)
    values = parse_qs(urlsplit(made).query)
    assert values["domain"] == ["customer.com"]
    assert values["host"] == ["a.news"]


def test_mode_zone_has_a_service_of_its_label(key: ConnectKey) -> None:
    made = url(key, mode=Mode.ZONE, zone=Domain("em.customer.com"))
    assert "/services/soboo-zone-em/apply?" in made


def test_keys_are_kept_sealed_and_for_their_owner_alone(tmp_path: Path) -> None:
    keys = ConnectKeys(tmp_path, MASTER)
    assert keys.all() == ()
    first, second = keys.make(), keys.make()
    assert ConnectKeys(tmp_path, MASTER).all() == (second, first)
    assert (first.label, second.label) == ("_dck1", "_dck2")
    for number in (1, 2):
        path = tmp_path / "connect" / f"_dck{number}.key"
        assert path.stat().st_mode & 0o777 == 0o600
        assert first.pair.private not in path.read_bytes()
    assert (tmp_path / "connect").stat().st_mode & 0o777 == 0o700
    assert "private" not in repr(first)


def test_a_key_of_another_master_or_another_name_does_not_open(tmp_path: Path) -> None:
    ConnectKeys(tmp_path, MASTER).make()
    with pytest.raises(SecretError, match="another master key"):
        ConnectKeys(tmp_path, MasterKey(b"x" * 32)).all()
    (tmp_path / "connect" / "_dck1.key").rename(tmp_path / "connect" / "_dck5.key")
    with pytest.raises(SecretError, match="damaged"):
        ConnectKeys(tmp_path, MASTER).all()


def test_other_files_are_no_keys(tmp_path: Path) -> None:
    (tmp_path / "connect").mkdir()
    for name in ("_dck0.key", "_dck1.key.bak", "notes", "_dck01.key"):
        (tmp_path / "connect" / name).write_text("x")
    assert ConnectKeys(tmp_path, MASTER).all() == ()


async def test_the_newest_key_that_dns_shows_whole_signs(
    key: ConnectKey,
) -> None:
    later = ConnectKey("_dck2", key.pair)
    dns = FakeResolver()
    for text in reversed(key.texts):
        dns.add(key.owner(DOMAIN), "TXT", text)
    assert await published((later, key), DOMAIN, dns) is key
    dns.add(later.owner(DOMAIN), "TXT", later.texts[0])
    assert await published((later, key), DOMAIN, dns) is key  # a part lacks
    dns.add(later.owner(DOMAIN), "TXT", later.texts[1])
    assert await published((later, key), DOMAIN, dns) is later
    dns.remove(key.owner(DOMAIN))
    dns.remove(later.owner(DOMAIN))
    assert await published((later, key), DOMAIN, dns) is None
    dns.silent = {later.owner(DOMAIN)}
    assert isinstance(await published((later, key), DOMAIN, dns), Unanswered)
