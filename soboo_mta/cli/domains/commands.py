"""`soboo-mta domain`: its commands in one place."""

import typer

from soboo_mta.cli.lazy import lazy_group

_PLACES = {
    "list": "domains.domain:list_all",
    "set": "domains.domain:change",
    "release": "domains.domain:release",
    "add": "domains.adding:add",
    "records": "records.records:records",
    "link": "records.page:link",
    "verify": "domains.look:verify",
    "history": "domains.standing.history:history",
    "preflight": "dns.preflight:preflight",
    "spf": "dns.spf:spf",
}

app = typer.Typer(
    cls=lazy_group(_PLACES),
    no_args_is_help=True,
    help="Sending domains and their DNS records.",
    add_completion=False,
)
