"""`soboo-mta serve`: run the relay until it is told to stop."""

from pathlib import Path

import typer

from soboo_mta.cli.context import DEFAULT_CONFIG, ConfigPath, open_store
from soboo_mta.settings import Settings, SettingsError
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.domains import list_domains


def serve(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Run the relay: take submissions, deliver, until SIGTERM or SIGINT.

    SIGTERM stops taking mail, lets what is under way finish and leaves the rest in the
    spool.
    """
    from soboo_mta.daemon import start  # late: other commands start without it

    settings = _settings_for_this_store(config)
    try:
        raise typer.Exit(start.serve(settings))
    except start.StartError as error:
        raise SettingsError(f"{config}: {error}") from error


def _settings_for_this_store(config: Path) -> Settings:
    """Return the settings; SettingsError where the store holds what they forbid.

    A harness' domains, assumed verified, must not meet settings that let mail out. The
    store is closed again: the daemon forks.
    """
    store = open_store(config)
    try:
        _ = store.master  # a worker would find out mail by mail
        if store.settings.allows_assume_verified:
            return store.settings
        for view in read_now(store.engine, list_domains):
            if view.settings.assume_verified:
                cause = store.settings.assume_verified_refusal
                raise SettingsError(
                    f"{config}: the domain {view.settings.name}: {cause}"
                )
        return store.settings
    finally:
        store.engine.dispose()
