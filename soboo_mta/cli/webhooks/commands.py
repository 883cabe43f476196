"""`soboo-mta webhook`: its commands in one place."""

import typer

from soboo_mta.cli.lazy import lazy_group

_PLACES = {
    "add": "webhooks.adding:add",
    "list": "webhooks.look:list_all",
    "show": "webhooks.look:show",
    "test": "webhooks.sending:send_test",
    "replay": "webhooks.sending:replay",
    "log": "webhooks.look:log",
    "rotate-secret": "webhooks.adding:rotate_secret",
    "disable": "webhooks.moves:disable",
    "enable": "webhooks.moves:enable",
    "remove": "webhooks.moves:remove",
}

app = typer.Typer(
    cls=lazy_group(_PLACES),
    no_args_is_help=True,
    add_completion=False,
    help="Tenants' endpoints that are told what happens.",
)
