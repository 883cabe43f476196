"""`soboo-mta queue`: its commands in one place."""

import typer

from soboo_mta.cli.queue.look import list_queue, show, top, why
from soboo_mta.cli.queue.moves import cancel, hold, release, retry
from soboo_mta.cli.queue.reroute import reroute

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="What waits, why, and what to do."
)
app.command()(top)
app.command("list")(list_queue)
app.command()(show)
app.command()(why)
app.command()(hold)
app.command()(release)
app.command()(retry)
app.command()(cancel)
app.command()(reroute)
