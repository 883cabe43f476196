"""`soboo-mta connect`: its commands in one place."""

import typer

from soboo_mta.cli.connect.requests import discover_host, show_keys, show_url
from soboo_mta.cli.connect.templates import lint_file, show_template

app = typer.Typer(
    no_args_is_help=True,
    help="Domain Connect: our records by one click at the customer's DNS host.",
    add_completion=False,
)
app.command("template")(show_template)
app.command("lint")(lint_file)
app.command("keys")(show_keys)
app.command("discover")(discover_host)
app.command("url")(show_url)
