"""`soboo-mta key`: its commands in one place."""

import typer

from soboo_mta.cli.keys.audit import audit_keys
from soboo_mta.cli.keys.look import list_keys
from soboo_mta.cli.keys.making import import_file, make_operator_keys
from soboo_mta.cli.keys.revoking import revoke_keys
from soboo_mta.cli.keys.rotating import rotate_keys
from soboo_mta.cli.keys.signed import show_signed

app = typer.Typer(no_args_is_help=True, help="DKIM keys.", add_completion=False)
app.command("list")(list_keys)
app.command("rotate")(rotate_keys)
app.command("revoke")(revoke_keys)
app.command("audit")(audit_keys)
app.command("signed")(show_signed)
app.command("import")(import_file)
app.command("operator")(make_operator_keys)
