"""`soboo-mta queue`: its commands in one place."""

import typer

from soboo_mta.cli.lazy import lazy_group

_PLACES = {
    "top": "queue.look:top",
    "list": "queue.look:list_queue",
    "show": "queue.look:show",
    "why": "queue.look:why",
    "hold": "queue.moves:hold",
    "release": "queue.moves:release",
    "retry": "queue.moves:retry",
    "cancel": "queue.moves:cancel",
    "reroute": "queue.reroute:reroute",
}

app = typer.Typer(
    cls=lazy_group(_PLACES),
    no_args_is_help=True,
    add_completion=False,
    help="What waits, why, and what to do.",
)
