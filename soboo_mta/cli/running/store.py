"""`soboo-mta store`: back up, restore, check and upgrade where mail is kept."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from soboo_mta.cli.context import (
    DEFAULT_CONFIG,
    FAULT,
    ConfigPath,
    be_sure,
    make_data_directory,
    say,
    warn,
)
from soboo_mta.settings import load
from soboo_mta.spool.operator.inspect import findings
from soboo_mta.store import migrate
from soboo_mta.store.embedded import copies
from soboo_mta.store.engine import open_engine
from soboo_mta.store.writer import read_now

app = typer.Typer(
    no_args_is_help=True, help="Where mail is kept.", add_completion=False
)
File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


@app.command()
def backup(file: File, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Copy the store to FILE, whole and at one instant, while the relay runs. The master
    key is not in it: keep that apart. (PostgreSQL: pg_dump.)"""
    size = copies.backup(_engine(config), file)
    say(f"{file}: {size} octets, checked")


@app.command()
def restore(
    file: File,
    config: ConfigPath = DEFAULT_CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Without asking.")] = False,
) -> None:
    """Put FILE in the store's place. The relay must be stopped; the store of now is kept.

    Mail that was delivered after the backup was made is in it as waiting: it is sent again.
    """
    engine = _engine(config)
    copies.refuse_missing(engine, file)
    if not yes:
        be_sure(
            "What was delivered after the backup was made will be sent again, and what was"
            " accepted after it is in the store of now alone. Go on?",
        )
    path = Path(engine.url.database or "")
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    kept_as = path.with_name(f"{path.name}.before-restore-{at}")
    copies.restore(engine, file, kept_as=kept_as)
    say(f"{path}: restored from {file}")
    if kept_as.exists():
        say(f"the store that was there is kept: {kept_as}")
    say("next: soboo-mta store check")


@app.command()
def check(
    config: ConfigPath = DEFAULT_CONFIG,
    content: Annotated[
        bool, typer.Option("--content", help="Read all content too, octet by octet.")
    ] = False,
) -> None:
    """Look for damage: the file's structure, rows that belong together, content. Changes
    nothing; exit code 1 where something is wrong."""
    engine = _engine(config)
    found: list[str] = []
    if engine.dialect.name == "sqlite":
        found += copies.faults(Path(engine.url.database or ""))
    revision = migrate.current(engine)
    if revision == migrate.HEAD:
        rows = read_now(engine, lambda at: list(findings(at, content=content)))
        found += [f"message {one.message_id}: {one.cause}" for one in rows]
    for line in found:
        warn(line)
    if found:
        raise typer.Exit(FAULT)
    say(f"schema {revision}: whole")
    if revision != migrate.HEAD:
        say(f"next: soboo-mta store upgrade (this release has schema {migrate.HEAD})")


@app.command()
def upgrade(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Bring the store to this release's schema, all or nothing. There is no way back: back
    up first. The relay must be stopped."""
    engine = _engine(config)
    before = migrate.current(engine)
    migrate.upgrade(engine)
    after = migrate.current(engine)
    if before == after:
        say(f"schema {after}: nothing to do")
    else:
        say(f"schema {before or 'none'} became {after}")


def _engine(config: Path) -> Engine:
    """The store as it is: opening it for other commands would upgrade it."""
    settings = load(config)
    make_data_directory(settings)
    return open_engine(settings.store_url)
