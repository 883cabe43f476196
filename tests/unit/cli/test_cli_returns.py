"""`soboo-mta returns read` and `soboo-mta classify`: what is printed, and wrong input."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.formats.classes.rules import own_rules, own_rules_text
from soboo_mta.mail.errors import FormatError
from soboo_mta.settings import SettingsError
from tests.unit.cli.test_cli_config import CONFIG
from tests.unit.formats.returned_examples import dsn

REPORT = dsn(
    "Reporting-MTA: dns; mx.there.example\n\nFinal-Recipient: rfc822; bob@there.example\n"
    "Action: failed\nStatus: 5.1.1\n"
)


def run(*words: str, stdin: bytes = b"") -> str:
    found = CliRunner().invoke(app, list(words), input=stdin)
    if found.exception is not None:
        raise found.exception
    return found.output


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "bounce.eml"
    file.write_bytes(REPORT)
    for output in (
        run("returns", "read", str(file)),
        run("returns", "read", "-", stdin=REPORT),
    ):
        assert output.startswith("dsn\n  form: rfc3464\n  recipient:\n")
        assert "    recipient: bob@there.example\n" in output
        assert "  sent:\n    message ids: <1@acme.example>\n" in output


def test_json_has_every_field(tmp_path: Path) -> None:
    file = tmp_path / "bounce.eml"
    file.write_bytes(REPORT)
    said = json.loads(run("returns", "read", "--json", str(file)))
    assert said["kind"] == "dsn"
    assert said["recipients"][0]["status"] == {"family": 5, "subject": 1, "detail": 1}
    assert said["sent"]["subject"] == "Hello"


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(FormatError, match="cannot read /no/such/file: No such file"):
        run("returns", "read", "/no/such/file")


def test_a_file_over_the_bound_is_refused_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bounce.eml"
    file.write_bytes(REPORT)
    monkeypatch.setattr("soboo_mta.cli.returns.read._MAX_FILE", len(REPORT))
    assert run("returns", "read", str(file))
    monkeypatch.setattr("soboo_mta.cli.returns.read._MAX_FILE", len(REPORT) - 1)
    with pytest.raises(FormatError, match="has over"):
        run("returns", "read", str(file))


def test_the_rule_that_decides_is_shown() -> None:
    text = "550-5.7.26 This mail is unauthenticated"
    output = run("classify", text, "--host", "mx.google.com")
    assert output.splitlines() == [
        "unauthenticated: SPF, DKIM or DMARC failed at the receiver, or it does not "
        "find the domain in DNS.",
        "  charged to: domain",
        "  where it is for good: check-dns",
        "  receiver: gmail",
        "  by rule gmail-unauthenticated, which found: 5.7.26",
    ]
    assert json.loads(run("classify", text, "--json"))["provider"] == ""
    assert "no rule is about it" in run("classify", "hello")


def test_a_rule_set_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    own = '[[rule]]\nname = "mine"\ntext = "hello"\nto = "loop"\n\n'
    printed = run("classify", "--print-rules")
    assert printed == own_rules_text()
    for text in (own, printed.replace("[[rule]]", own + "[[rule]]", 1)):
        file.write_text(text)
        assert "by rule mine" in run("classify", "hello", "--rules", str(file))


def test_the_rules_of_the_settings_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(
        '[[rule]]\nname = "mine"\ntext = "hello"\nto = "loop"\n'
    )
    config = tmp_path / "soboo.toml"
    config.write_text(CONFIG + '[classification]\nrules = "mine.toml"\n')
    assert "by rule mine" in run("classify", "hello", "--config", str(config))
    monkeypatch.chdir(tmp_path)
    assert "by rule mine" in run("classify", "hello")
    (tmp_path / "mine.toml").write_text("[[rule]]\n")
    with pytest.raises(FormatError, match=r"\[classification\] rules .*mine\.toml: "):
        run("classify", "hello")
    monkeypatch.setenv("SOBOO_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match="there is no none"):
        run("classify", "hello")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "write what the receiver said"),
        (("x", "--rules", "/no/such/file"), "cannot read /no/such/file"),
    ],
)
def test_wrong_words(words: tuple[str, ...], why: str) -> None:
    with pytest.raises(FormatError, match=why):
        run("classify", *words)


def test_a_wrong_rule_set_says_why(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(own_rules_text().replace('to = "loop"', 'to = "lop"', 1))
    with pytest.raises(FormatError, match=r"the bounce rules: rule\."):
        run("classify", "x", "--rules", str(file))


def test_the_page_lists_the_classes_as_the_rule_set_has_them() -> None:
    page = Path("docs/returns.md").read_text(encoding="utf-8")
    listed = dict(
        re.findall(r"(?m)^\| `([a-z-]+)` \| [^|]+ \| ([^|]+ \| [^|]+) \|$", page)
    )
    assert listed == {
        name.value: f"{facts.charged} | {facts.consequence}"
        for name, facts in own_rules().classes.items()
    }


def test_nothing_to_read_again_is_said(tmp_path: Path) -> None:
    config = tmp_path / "soboo.toml"
    config.write_text(CONFIG)
    where = ("--config", str(config))
    assert run("returns", "reread", *where) == "nothing is unrecognised\n"
    with pytest.raises(FormatError, match="return 7 is not there, or is recognised"):
        run("returns", "reread", "7", *where)
