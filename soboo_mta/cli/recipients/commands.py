"""`soboo-mta suppression`: its commands in one place."""

import typer

from soboo_mta.cli.lazy import lazy_group

_PLACES = {
    "add": "recipients.adding:add",
    "import": "recipients.importing:import_file",
    "export": "recipients.exporting:export",
    "show": "recipients.look:show",
    "list": "recipients.look:list_all",
    "remove": "recipients.removing:remove",
    "history": "recipients.look:show_history",
}

app = typer.Typer(
    cls=lazy_group(_PLACES),
    no_args_is_help=True,
    add_completion=False,
    help="Addresses that a tenant's mail does not go to any more.",
)
