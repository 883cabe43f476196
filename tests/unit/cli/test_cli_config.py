"""check-config and secret: what an operator sees before the first start."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from soboo_mta.__main__ import main
from soboo_mta.tenancy.secrets import MasterKey

CONFIG = """
[server]
data_directory = "var"
[secrets]
master_key_file = "keys/master.key"
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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "soboo.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["soboo-mta", *words])
    with pytest.raises(SystemExit) as end:
        main()
    code = end.value.code or 0
    assert isinstance(code, int)
    return code


def test_a_missing_master_key_is_a_fault_and_a_made_one_is_good(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check-config") == 2
    assert "make one with `soboo-mta secret generate`" in capsys.readouterr().err
    assert run(monkeypatch, "secret", "generate") == 0
    assert run(monkeypatch, "check-config") == 0
    out = capsys.readouterr().out
    assert out.endswith("soboo.toml: good\n")
    assert stat.S_IMODE((folder / "keys/master.key").stat().st_mode) == 0o600


def test_wrong_bounce_rules_are_a_fault_and_nothing_starts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "soboo.toml").open("a") as file:
        file.write('[classification]\nrules = "rules.toml"\n')
    assert run(monkeypatch, "secret", "generate") == 0
    for text, why in (
        (None, "No such file or directory"),
        ('[[rule]]\nname = "x"\nto = "spam"\n', "the bounce rules: rule.0.to: "),
    ):
        if text is not None:
            (folder / "rules.toml").write_text(text)
        assert run(monkeypatch, "check-config") == 2
        fault = f"[classification] rules {folder}/rules.toml: {why}"
        assert fault in capsys.readouterr().err
        serve = [sys.executable, "-m", "soboo_mta", "serve"]
        server = subprocess.run(serve, capture_output=True, text=True, timeout=60)
        assert server.returncode == 2
        assert fault in server.stderr
        assert '"event": "serving"' not in server.stderr


def test_a_master_key_is_never_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "secret", "generate") == 0
    before = (folder / "keys/master.key").read_text()
    assert run(monkeypatch, "secret", "generate") == 2
    assert (folder / "keys/master.key").read_text() == before


def test_a_master_key_for_the_environment_is_printed_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CONFIG.replace('master_key_file = "keys/master.key"', 'master_key_env = "K"')
    (folder / "soboo.toml").write_text(text)
    assert run(monkeypatch, "secret", "generate") == 0
    key = capsys.readouterr().out.strip()
    assert MasterKey.from_text(key).to_text() == key
    monkeypatch.setenv("K", key)
    assert run(monkeypatch, "check-config") == 0
    assert key not in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_refused_settings_exit_with_2_and_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("soboo.toml").write_text(CONFIG + "[delivery]\nprot = 25\n")
    for words in (["check-config"], ["queue", "list"], ["serve"]):
        assert run(monkeypatch, *words) == 2
        assert "did you mean 'port'?" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_what_is_set_is_shown_in_the_files_own_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "postgresql://soboo:hunter2@db/soboo"
    set_here = f'[dns]\nresolvers = ["127.0.0.1:54"]\ntimeout = "90s"\nlifetime = "2m"\n[store]\nurl = "{url}"\n'
    Path("soboo.toml").write_text(CONFIG + set_here)
    run(monkeypatch, "check-config")
    out = capsys.readouterr().out
    assert 'resolvers = ["127.0.0.1:54"]\ntimeout = "90s"\n' in out
    assert 'url = "postgresql://soboo:***@db/soboo"' in out
    assert "hunter2" not in out
    assert "[retry]" not in out
    run(monkeypatch, "check-config", "--all")
    assert '[retry]\nsteps = ["5m", "15m"' in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_http_and_monitoring_are_shown_and_what_is_open_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    http = '[[http_listeners]]\naddress = "127.0.0.1"\nport = 8025\ntls = false\n'
    open_to_all = '[monitoring]\naddress = "0.0.0.0"\nport = 9625\n'
    Path("soboo.toml").write_text(CONFIG + http + open_to_all)
    run(monkeypatch, "secret", "generate")
    assert run(monkeypatch, "check-config") == 0
    told = capsys.readouterr()
    assert http in told.out
    assert open_to_all in told.out
    assert "warning: [monitoring] 0.0.0.0 is off loopback" in told.err
    run(monkeypatch, "check-config", "--all")
    assert "[http]\nmax_body_size = 52428800\nmax_batch = 100\n" in (
        capsys.readouterr().out
    )


@pytest.mark.usefixtures("folder")
def test_a_certificate_that_does_not_load_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tls = '[tls]\ncertificate_file = "c.pem"\nprivate_key_file = "k.pem"\n'
    Path("soboo.toml").write_text(CONFIG + tls)
    run(monkeypatch, "secret", "generate")
    assert run(monkeypatch, "check-config") == 2
    assert "[tls] certificate_file" in capsys.readouterr().err
    leaf, other = (trustme.CA().issue_cert("127.0.0.1") for _ in range(2))
    leaf.private_key_pem.write_to_path("k.pem")
    Path("c.pem").write_text("hello")
    assert run(monkeypatch, "check-config") == 2
    told = capsys.readouterr().err
    assert "c.pem holds no PEM certificate" in told
    assert "SSL" not in told
    serve = [sys.executable, "-m", "soboo_mta", "serve"]
    server = subprocess.run(serve, capture_output=True, text=True, timeout=60)
    assert server.returncode == 2
    assert "c.pem holds no PEM certificate" in server.stderr
    begin, end = (f"-----{word} CERTIFICATE-----" for word in ("BEGIN", "END"))
    Path("c.pem").write_text(f"{begin}\nAAAA\n{end}\n")
    assert run(monkeypatch, "check-config") == 2
    assert "k.pem: the PEM in it is damaged" in capsys.readouterr().err
    other.cert_chain_pems[0].write_to_path("c.pem")
    assert run(monkeypatch, "check-config") == 2
    assert "the private key is not that of the cert" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_client_authority_that_does_not_load_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path("k.pem")
    leaf.cert_chain_pems[0].write_to_path("c.pem")
    authority.cert_pem.write_to_path("good.pem")
    tls = '[tls]\ncertificate_file = "c.pem"\nprivate_key_file = "k.pem"\n'
    run(monkeypatch, "secret", "generate")
    for file, code in (("good.pem", 0), ("k.pem", 2), ("none.pem", 2)):
        own = f'tls = "starttls"\nclient_ca_file = "{file}"'
        Path("soboo.toml").write_text(CONFIG.replace('tls = "none"', own) + tls)
        assert run(monkeypatch, "check-config") == code
        assert (
            f"client_ca_file {Path(file).absolute()}" in (capsys.readouterr().err)
        ) == (code != 0)


@pytest.mark.usefixtures("folder")
def test_warnings_go_beside_and_do_not_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("soboo.toml").write_text(CONFIG + "[delivery]\nprivate_destinations = true\n")
    run(monkeypatch, "secret", "generate")
    assert run(monkeypatch, "check-config") == 0
    assert "warning: [delivery] private_destinations is on" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_harness_store_does_not_start_once_mail_could_leave(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    route = '[[routes]]\ndomain = "*"\nnext_hop = "127.0.0.1:2600"\n'
    Path("soboo.toml").write_text(CONFIG + route)
    for words in (
        "secret generate",
        "tenant add acme",
        "domain add acme.example --tenant acme --assume-verified",
    ):
        assert run(monkeypatch, *words.split()) == 0, capsys.readouterr().err
    Path("soboo.toml").write_text(CONFIG)
    assert run(monkeypatch, "serve") == 2
    error = capsys.readouterr().err
    assert "the domain acme.example: assume_verified is for test harnesses" in error
