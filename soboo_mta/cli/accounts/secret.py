"""`soboo-mta secret`: the master key under which private keys and credentials are kept."""

import typer

from soboo_mta.cli.context import DEFAULT_CONFIG, ConfigPath, say, warn
from soboo_mta.settings import load
from soboo_mta.tenancy.secrets import MasterKey

app = typer.Typer(no_args_is_help=True, help="The master key.", add_completion=False)


@app.callback()
def group() -> None:
    """Keep `generate` a word of its own, with one command in the group."""


@app.command()
def generate(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Make a master key where the settings say; never replaces one.

    Into master_key_file, or for master_key_env printed once. Back it up apart from the
    store: without it the store's private keys and credentials are lost.
    """
    settings = load(config)
    key = MasterKey.generate()
    path = settings.secrets.master_key_file
    if path is None:
        typer.echo(key.to_text())
        warn(f"shown once: set it as {settings.secrets.master_key_env}, and back it up")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    key.write_new(path)
    say(f"{path}: made; back it up apart from the store")
