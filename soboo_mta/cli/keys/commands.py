"""`soboo-mta key`: its commands in one place."""

import typer

from soboo_mta.cli.lazy import lazy_group

_PLACES = {
    "list": "keys.look:list_keys",
    "rotate": "keys.rotating:rotate_keys",
    "revoke": "keys.revoking:revoke_keys",
    "audit": "keys.audit:audit_keys",
    "signed": "keys.signed:show_signed",
    "import": "keys.making:import_file",
    "operator": "keys.making:make_operator_keys",
}

app = typer.Typer(
    cls=lazy_group(_PLACES),
    no_args_is_help=True,
    help="DKIM keys.",
    add_completion=False,
)
