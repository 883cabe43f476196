"""The master key: what it seals opens with it alone, and it never shows itself."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soboo_mta.tenancy.secrets import (
    MasterKey,
    SecretError,
    generate_secret,
    generate_token,
)
from tests.fakes.tenancy import MASTER


@given(st.binary(max_size=3000), st.text(max_size=40))
def test_what_is_sealed_opens_in_its_context(plain: bytes, context: str) -> None:
    assert MASTER.unseal(MASTER.seal(plain, context=context), context=context) == plain


def test_what_is_sealed_does_not_show_and_is_never_the_same_twice() -> None:
    one = MASTER.seal(b"private half", context="key 1")
    assert b"private half" not in one
    assert one != MASTER.seal(b"private half", context="key 1")


def test_a_sealed_value_moved_to_another_row_does_not_open() -> None:
    sealed = MASTER.seal(b"private half", context="domain 1")
    with pytest.raises(SecretError, match="damaged"):
        MASTER.unseal(sealed, context="domain 2")


def test_another_master_key_is_named_as_the_cause() -> None:
    sealed = MASTER.seal(b"private half", context="domain 1")
    with pytest.raises(SecretError, match="another master key"):
        MasterKey.generate().unseal(sealed, context="domain 1")


@given(st.data())
def test_no_changed_octet_opens(data: st.DataObject) -> None:
    sealed = bytearray(MASTER.seal(b"private half", context="x"))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SecretError):
        MASTER.unseal(bytes(sealed), context="x")


@given(st.binary(max_size=100))
def test_no_foreign_octets_open(sealed: bytes) -> None:
    with pytest.raises(SecretError):
        MASTER.unseal(sealed, context="x")


def test_the_key_shows_as_stars() -> None:
    assert MASTER.to_text() not in f"{MASTER!r}{MASTER}"
    assert "****" in repr(MASTER)


def test_a_written_key_is_read_again_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    MASTER.write_new(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert MasterKey.from_file(path).to_text() == MASTER.to_text()


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_text("something dear")
    with pytest.raises(SecretError, match="never replaced"):
        MASTER.write_new(path)
    assert path.read_text() == "something dear"


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    MASTER.write_new(path)
    path.chmod(0o640)
    with pytest.raises(SecretError, match="chmod 600"):
        MasterKey.from_file(path)


@pytest.mark.parametrize("text", ["", "not base64!", "c2hvcnQ="])
def test_what_is_no_key_is_refused_with_the_one_to_put_back(text: str) -> None:
    with pytest.raises(SecretError, match="put back the one this store was made with"):
        MasterKey.from_text(text)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"nowhere\.key"):
        MasterKey.from_file(tmp_path / "nowhere.key")


def test_a_hash_belongs_to_one_user_name_one_secret_and_one_installation() -> None:
    given_hash = MASTER.credential_hash("app", "secret")
    assert given_hash == MASTER.credential_hash("app", "secret")
    others = {
        MASTER.credential_hash("apps", "ecret"),
        MASTER.credential_hash("app", "Secret"),
        MASTER.credential_hash("App", "secret"),
        MasterKey.generate().credential_hash("app", "secret"),
    }
    assert given_hash not in others
    assert len(others) == 4


def test_each_purpose_has_its_own_key() -> None:
    keys = {MASTER.verp_key(version) for version in range(32)}
    assert len(keys) == 32
    assert {len(key) for key in keys} == {32}
    with pytest.raises(ValueError, match="32"):
        MASTER.verp_key(32)


def test_secrets_and_tokens_are_long_lower_case_and_never_alike() -> None:
    secrets = {generate_secret() for _ in range(200)}
    tokens = {generate_token() for _ in range(200)}
    assert len(secrets) == len(tokens) == 200
    assert all(len(one) == 32 and one.islower() and one.isalnum() for one in secrets)
    assert all(len(one) == 24 and one.isalnum() for one in tokens)
