"""What follows from several settings together, and where settings come from."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from soboo_mta.settings import Settings, SettingsError, load
from soboo_mta.settings.options import client_options, listener_options, verp_keys
from soboo_mta.settings.values import (
    parse_duration,
    parse_endpoint,
    parse_octets,
    parse_pattern,
)
from soboo_mta.settings.warnings import warnings
from soboo_mta.tenancy.secrets import MasterKey, SecretError

FILE = """
[secrets]
master_key_file = "master.key"
[operator]
domain = "esp.example"
[[listeners]]
address = "127.0.0.1"
port = 2525
tls = "none"
[[sources]]
name = "default"
public_address = "8.8.8.8"
ehlo_name = "mta1.esp.example"
"""


def settings_of(tmp_path: Path, more: str = "", base: str = FILE) -> Settings:
    path = tmp_path / "soboo.toml"
    path.write_text(base + more)
    return load(path)


def route(domain: str, hop: str) -> str:
    return f'[[routes]]\ndomain = "{domain}"\nnext_hop = "{hop}"\n'


# ---- assume_verified


@pytest.mark.parametrize("hop", ["127.0.0.1:2600", "[::1]:2600", "192.0.2.7:25"])
def test_assume_verified_is_allowed_while_all_mail_ends_on_sinks(
    tmp_path: Path, hop: str
) -> None:
    sinks = '[delivery]\ntest_sinks = ["192.0.2.7"]\n'
    settings = settings_of(tmp_path, sinks + route("*", hop))
    assert settings.allows_assume_verified
    assert settings.assume_verified_refusal == ""


@pytest.mark.parametrize(
    ("routes", "because"),
    [
        ("", "there is no route for the domain *"),
        (route("a.example", "127.0.0.1:26"), "there is no route for the domain *"),
        (route("*", "mx"), "the route * is by MX"),
        (
            route("*", "127.0.0.1:26") + route("gmail.com", "mx"),
            "the route gmail.com is by MX",
        ),
        (route("*", "localhost:26"), "ends on localhost:26"),
        (route("*", "8.8.8.8:25"), "ends on 8.8.8.8:25"),
        (
            '[[routes]]\ndomain = "*"\nnext_hop = ["127.0.0.1:26", "8.8.8.8"]\n',
            "ends on 8.8.8.8:25",
        ),
    ],
)
def test_assume_verified_is_refused_once_any_mail_could_leave(
    tmp_path: Path, routes: str, because: str
) -> None:
    settings = settings_of(tmp_path, routes)
    assert not settings.allows_assume_verified
    assert because in settings.assume_verified_refusal


# ---- warnings


def test_a_plain_installation_warns_of_nothing(tmp_path: Path) -> None:
    assert warnings(settings_of(tmp_path)) == ()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("[delivery]\nprivate_destinations = true\n", "private_destinations is on"),
        ("[delivery]\nport = 2525\n", "MX hosts listen on 25"),
        ("[delivery]\ntls = 'none'\n", "leaves in clear"),
        ("[dns]\nauthoritative_port = 5300\n", "authoritative_port is 5300"),
        ("[retry]\nlifetime = '1d'\n", "under 4 days"),
        ("[retention]\nkeep = '29d'\n", "unsubscribe addresses"),
        ("[submission]\ntrusted_networks = ['8.8.8.0/24']\n", "without a password"),
        (route("*", "127.0.0.1:2600"), "may be assume_verified"),
        (
            "[publish]\ntls_reports = 'https://esp.example/tls'\n",
            "there are no [[http_listeners]]",
        ),
    ],
)
def test_what_is_allowed_and_dangerous_warns(
    tmp_path: Path, more: str, words: str
) -> None:
    (line,) = warnings(settings_of(tmp_path, more))
    assert words in line


def test_a_private_public_address_warns(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, base=FILE.replace("8.8.8.8", "10.0.0.1"))
    assert "SPF will fail" in " ".join(warnings(settings))


def test_a_clear_listener_for_trusted_networks_warns(tmp_path: Path) -> None:
    base = FILE.replace('"127.0.0.1"', '"10.0.0.5"')
    more = "[submission]\ntrusted_networks = ['10.0.0.0/8']\n"
    (line,) = warnings(settings_of(tmp_path, more, base))
    assert "10.0.0.5:2525 is in clear" in line


# ---- where settings come from


def test_the_environment_stands_above_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOBOO_STORE__URL", "postgresql://db/soboo")
    monkeypatch.setenv("SOBOO_SERVER__WORKERS", "0")
    settings = settings_of(tmp_path, "[store]\nreaders = 3\n")
    assert settings.store_url == "postgresql://db/soboo"
    assert settings.worker_count == 0
    assert settings.store.readers == 3, "the file's other keys still count"


def test_an_unknown_key_in_the_environment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOBOO_STORE__ULR", "x")
    with pytest.raises(SettingsError, match="did you mean 'url'"):
        settings_of(tmp_path)


def test_relative_paths_are_taken_from_the_files_directory(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "[server]\ndata_directory = 'var'\n")
    assert settings.server.data_directory == tmp_path / "var"
    assert settings.store_url == f"sqlite:///{tmp_path}/var/soboo.db"
    assert settings.secrets.master_key_file == tmp_path / "master.key"


def test_a_refused_value_that_could_be_a_secret_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refusal:
        settings_of(tmp_path, "[store]\nurl = 'mysql://u:hunter2@db/x'\n")
    assert "hunter2" not in str(refusal.value)


# ---- the master key


def test_the_master_key_comes_from_the_file(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with pytest.raises(SecretError, match="there is no master key at"):
        settings.master_key()
    key = MasterKey.generate()
    key.write_new(tmp_path / "master.key")
    assert settings.master_key().to_text() == key.to_text()


def test_the_master_key_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = FILE.replace(
        'master_key_file = "master.key"', 'master_key_env = "RELAY_KEY"'
    )
    settings = settings_of(tmp_path, base=base)
    with pytest.raises(SecretError, match="RELAY_KEY"):
        settings.master_key()
    key = MasterKey.generate()
    monkeypatch.setenv("RELAY_KEY", key.to_text())
    assert settings.master_key().to_text() == key.to_text()


def test_a_raised_verp_version_signs_and_the_earlier_ones_still_open(
    tmp_path: Path,
) -> None:
    base = FILE.replace("[operator]", "verp_key_version = 2\n[operator]")
    settings = settings_of(tmp_path, base=base)
    MasterKey.generate().write_new(tmp_path / "master.key")
    keys, current = verp_keys(settings)
    assert current == 2
    assert sorted(keys) == [0, 1, 2]
    assert len(set(keys.values())) == 3


# ---- values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("30s", timedelta(seconds=30)),
        ("5 m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("5d", timedelta(days=5)),
    ],
)
def test_durations_are_written_with_a_unit(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("value", [30, "30", "", "-1s", "1.5h", "1w", None])
def test_other_durations_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="write it with a unit"):
        parse_duration(value)


def test_sizes_are_octets_or_have_a_binary_unit() -> None:
    assert [parse_octets(one) for one in (7, "7", "2KiB", "1 MiB")] == [
        7,
        7,
        2048,
        1 << 20,
    ]
    with pytest.raises(ValueError, match="not a size"):
        parse_octets("1MB")


def test_resolvers_have_port_53_unless_they_say_another() -> None:
    shown = [parse_endpoint(one) for one in ("127.0.0.1", "::1", "[::1]:54")]
    assert [port for _, port in shown] == [53, 53, 54]


def test_patterns_are_normal_domains() -> None:
    assert parse_pattern("*") == "*"
    assert parse_pattern(".Example") == ".example"
    assert parse_pattern("BÜCHER.example") == "xn--bcher-kva.example"
    with pytest.raises(ValueError, match="fully qualified"):
        parse_pattern("localhost")


def test_case_148_no_wait_is_shorter_than_the_standards(tmp_path: Path) -> None:
    """RFC 5321 §4.5.3.2, as a client and as a server."""
    settings = settings_of(tmp_path)
    waits = client_options(settings).timeouts
    minutes = {"banner": 5, "command": 5, "data_start": 2, "data_block": 3}
    for name, least in (minutes | {"data_done": 10}).items():
        assert getattr(waits, name) >= timedelta(minutes=least), name
    assert listener_options(settings).command_timeout >= timedelta(minutes=5)
