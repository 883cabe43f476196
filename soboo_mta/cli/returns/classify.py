"""`soboo-mta classify`: the class of a refusal, and which rule says so."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from soboo_mta.cli.accounts.tenant import Json
from soboo_mta.cli.context import DEFAULT_CONFIG, say, say_json
from soboo_mta.cli.files import text_in
from soboo_mta.formats.classes.rules import (
    RuleSet,
    own_rules,
    own_rules_text,
    read_rules,
    said_in,
)
from soboo_mta.mail.errors import FormatError
from soboo_mta.settings import load

Text = Annotated[
    str, typer.Argument(metavar="TEXT", help="A reply, or a report's diagnostic.")
]
Host = Annotated[
    str,
    typer.Option("--host", metavar="NAME", help="Whose reply: the MX host's name."),
]
RulesFile = Annotated[
    Path | None,
    typer.Option("--rules", metavar="FILE", help="Rules to ask before ours."),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="SOBOO_CONFIG",
        help="The settings whose rules are asked before ours; else soboo.toml here.",
    ),
]
Print = Annotated[
    bool, typer.Option("--print-rules", help="Print the rule set, and end.")
]


def classify(
    text: Text = "",
    host: Host = "",
    rules: RulesFile = None,
    config: Config = None,
    print_rules: Print = False,
    as_json: Json = False,
) -> None:
    """Say why a receiver refused mail, by TEXT: class, who is charged, what follows."""
    if print_rules:
        typer.echo(own_rules_text() if rules is None else text_in(rules), nl=False)
        return
    if not text:
        raise FormatError("TEXT is missing: write what the receiver said")
    _show(_asked(rules, config), text, host, as_json=as_json)


def _asked(rules: Path | None, config: Path | None) -> RuleSet:
    """The rules of the file given, else of the settings: those of the relay here."""
    if rules is not None:
        return read_rules(text_in(rules), own_rules_text())
    if config is None and not DEFAULT_CONFIG.exists():
        return own_rules()  # a trial on a machine without a relay
    return load(config or DEFAULT_CONFIG).bounce_rules()


def _show(rule_set: RuleSet, text: str, host: str, *, as_json: bool) -> None:
    found = rule_set.classify(said_in(text, hosts=(host,) if host else ()))
    if as_json:
        facts = asdict(found)
        say_json({**facts.pop("facts"), **facts})
        return
    say(f"{found.bounce_class}: {found.facts.says}")
    say(f"  charged to: {found.facts.charged}")
    say(f"  where it is for good: {found.facts.consequence}")
    if found.provider:
        say(f"  receiver: {found.provider}")
    if found.rule:
        say(f"  by rule {found.rule}, which found: {found.matched}")
    else:
        say("  no rule is about it")
