"""`soboo-mta connect template` and `lint`: what DNS hosts are given before any customer."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    ConfigPath,
    say,
    say_json,
    warn,
)
from soboo_mta.cli.files import octets_in
from soboo_mta.identity.state import Mode
from soboo_mta.mail.domain import DnsName
from soboo_mta.mail.errors import FormatError
from soboo_mta.onboarding.connect.lint.finding import Finding, Severity
from soboo_mta.onboarding.connect.lint.lint import Profile, lint, read_template
from soboo_mta.onboarding.connect.template import (
    MODES,
    Labels,
    Texts,
    file_name,
    template,
)
from soboo_mta.settings import load
from soboo_mta.tenancy.domains import (
    DEFAULT_BOUNCE_LABEL,
    DEFAULT_SELECTORS,
    DEFAULT_ZONE_LABEL,
)


def show_template(
    name: Annotated[str, typer.Option(help="Your name, as customers know it.")],
    config: ConfigPath = DEFAULT_CONFIG,
    mode: Annotated[
        Mode, typer.Option(help="For domains in this mode: cname or zone.")
    ] = Mode.CNAME,
    zone_label: Annotated[
        str | None,
        typer.Option(help=f"Mode zone: what is delegated; else {DEFAULT_ZONE_LABEL}."),
    ] = None,
    bounce_label: Annotated[
        str | None,
        typer.Option(help=f"Mode cname: bounce host; else {DEFAULT_BOUNCE_LABEL}."),
    ] = None,
    selector: Annotated[
        list[str] | None,
        typer.Option(help=f"Repeat; else {' '.join(DEFAULT_SELECTORS)}."),
    ] = None,
    logo: Annotated[str | None, typer.Option(help="URL of your logo, https.")] = None,
    version: Annotated[int, typer.Option(min=1, help="Raise it with each change.")] = 1,
    directory: Annotated[
        Path | None, typer.Option(help="Write the file here instead of showing it.")
    ] = None,
) -> None:
    """Show the template that DNS hosts need of you, as the public repository holds it.

    Each set of labels that domains have is a template of its own.
    """
    labels = _labels(mode, zone_label, bounce_label, selector)
    if not name.strip():
        raise FormatError("--name is empty: say how your customers call you")
    if logo is not None and not logo.startswith("https://"):
        raise FormatError(f"--logo is no https URL: {logo[:60]!r}")
    operator = load(config).identity()
    made = template(operator, labels, Texts(name.strip(), version, logo))
    content = json.dumps(made, indent=4, ensure_ascii=False) + "\n"
    file = file_name(operator, labels)
    if directory is None:
        typer.echo(content, nl=False)
        warn(f"its file in the repository is {file}")
        return
    try:
        (directory / file).write_text(content, encoding="utf-8")
    except OSError as error:
        raise FormatError(
            f"cannot write {directory / file}: {error.strerror}"
        ) from error
    say(f"wrote {directory / file}")


def _labels(
    mode: Mode,
    zone_label: str | None,
    bounce_label: str | None,
    selectors: list[str] | None,
) -> Labels:
    if mode not in MODES:
        raise FormatError(f"Domain Connect is for modes cname and zone, not {mode}")
    for option, given, its_mode in (
        ("--zone-label", zone_label, Mode.ZONE),
        ("--bounce-label", bounce_label, Mode.CNAME),
    ):
        if given is not None and mode is not its_mode:
            raise FormatError(f"{option} is for --mode {its_mode} alone")
    return Labels(
        bounce=DEFAULT_BOUNCE_LABEL if bounce_label is None else bounce_label,
        selectors=tuple(map(DnsName.parse, selectors or DEFAULT_SELECTORS)),
        zone=(DEFAULT_ZONE_LABEL if zone_label is None else zone_label)
        if mode is Mode.ZONE
        else None,
    )


def lint_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A template, JSON.")],
    profile: Annotated[
        Profile, typer.Option(help="Whose rules, above the repository's.")
    ] = Profile.REPOSITORY,
    as_json: Json = False,
) -> None:
    """Hold a template against the rules of the public repository, or a DNS host's too.

    Exit code 1 where one is broken; notes and warnings break none.
    """
    octets = octets_in(file)
    found = lint(read_template(octets), profile, file=file.name)
    if as_json:
        say_json([_finding_values(one) for one in found])
    else:
        say(_findings_table(found) if found else f"{file}: every rule is kept")
    if any(one.severity is Severity.ERROR for one in found):
        raise typer.Exit(FAULT)


def _findings_table(found: tuple[Finding, ...]) -> Table:
    table = Table(show_lines=True)
    for title in ("rule", "severity", "where", "what"):
        table.add_column(title, overflow="fold")
    for one in found:
        table.add_row(one.rule, one.severity, one.place, one.sentence)
    return table


def _finding_values(finding: Finding) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "where": finding.place,
        "what": finding.sentence,
    }
