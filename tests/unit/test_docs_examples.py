"""What the documents tell people to type exists: commands, their options, settings."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from soboo_mta.cli.app import app
from soboo_mta.mail.outcome import Reason
from soboo_mta.settings import Settings, load
from soboo_mta.settings.warnings import warnings
from soboo_mta.tenancy.declared.tenants_file import load_tenants

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> Iterator[str]:
    """Each `soboo-mta …` that a page shows in a block or between backticks."""
    for page in [*PAGES, ROOT / "config" / "soboo.toml"]:
        text = page.read_text(encoding="utf-8")
        yield from re.findall(r"(?m)^soboo-mta ([^#&\n]+)", text)
        yield from re.findall(r"`soboo-mta ([^`]+)`", text.replace("\n", " "))


@pytest.mark.parametrize("line", sorted({" ".join(one.split()) for one in commands()}))
def test_a_documented_command_parses(line: str) -> None:
    words = shlex.split(line)
    command = root = typer.main.get_command(app)
    context = typer.Context(command)
    while words and isinstance(command, TyperGroup):
        below = command.get_command(context, words[0])
        assert below is not None, f"there is no {words[0]}"
        command, words = below, words[1:]
    if words:  # else a page names the command in passing: that it exists is enough
        command.make_context(line, words)
    assert command is not root


def test_pages_show_commands_at_all() -> None:
    assert len(set(commands())) > 15


def test_every_make_target_that_pages_name_exists() -> None:
    targets = set(re.findall(r"(?m)^(\w+):", (ROOT / "Makefile").read_text()))
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        named = re.findall(
            r"(?m)(?:^    |`)make (\w+)", page.read_text(encoding="utf-8")
        )
        assert set(named) <= targets, page.name


def test_the_readmes_settings_load_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "soboo.toml").write_text(toml_blocks("README.md")[0])
    lines = warnings(load(tmp_path / "soboo.toml"))
    # 198.51.100.0/24 is for documents (RFC 5737 §3): that it is not public is all there is.
    assert [line for line in lines if "198.51.100.25" not in line] == []


def test_the_readmes_http_listener_goes_with_its_settings(tmp_path: Path) -> None:
    settings, _, http = toml_blocks("README.md")
    (tmp_path / "soboo.toml").write_text(settings + http)
    loaded = load(tmp_path / "soboo.toml")
    assert [one.port for one in loaded.http_listeners] == [8026]
    assert loaded.monitoring.port == 9625


def test_the_readmes_tenants_can_be_applied(tmp_path: Path) -> None:
    (tmp_path / "tenants.toml").write_text(toml_blocks("README.md")[1])
    (acme,) = load_tenants(tmp_path / "tenants.toml").tenant
    assert [one.name for one in acme.domain] == ["acme.example"]
    assert not acme.credential[0].networks  # step 5 logs in from 127.0.0.1


def test_the_labs_changes_to_the_readmes_settings_are_settings() -> None:
    (changes,) = toml_blocks("docs/lab.md")
    settings = tomllib.loads(toml_blocks("README.md")[0]) | tomllib.loads(changes)
    assert Settings(**settings).delivery.private_destinations


def toml_blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```toml\n(.+?)```", text, re.DOTALL)


def test_links_between_the_documents_lead_somewhere() -> None:
    for page in [*PAGES, *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_each_reason_has_a_row_of_its_own_that_leads_to_what_to_do() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.partition("| reason |")[2].partition("\n\n")[0]
    named = re.findall(r"(?m)^\| ([a-z-]+) \|", table)
    assert sorted(named) == sorted(one.value for one in Reason)
    headings = re.findall(r"(?m)^## (.+)$", text)
    there = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
    assert {*re.findall(r"\]\(#([^)]+)\)", text)} <= there


def test_nothing_is_told_to_be_installed_by_name_as_no_index_has_it() -> None:
    told = [*PAGES, *ROOT.glob("examples/**/*.md"), *ROOT.glob("config/**/*.service")]
    for page in told:
        assert "pip install soboo" not in page.read_text(encoding="utf-8"), page


def test_the_unit_gives_reloads_and_stops_the_time_that_operations_names() -> None:
    unit = (ROOT / "config" / "systemd" / "soboo-mta.service").read_text()
    told = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for setting in ("TimeoutStartSec=10min", "TimeoutStopSec=60"):
        assert f"    {setting}\n" in told
        assert re.search(f"(?m)^{setting}s?$", unit)
