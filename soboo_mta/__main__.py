"""The console script: runs a command and says what went wrong in one sentence."""

import atexit
import gc
import sys

from soboo_mta.cli.app import app
from soboo_mta.cli.context import CONFIG_FAULT, EXPECTED, FAULT, WRONG_WORDS
from soboo_mta.settings import SettingsError
from soboo_mta.tenancy.secrets import SecretError

# Objects between searches for cycles; with Python's few hundred a command takes a fifth
# longer to start, and a worker loses 3 %.
_COLLECT_EVERY = 10_000


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 it failed, 2 wrong words or settings,
    3 (where a command says so) DNS gave no answer."""
    gc.set_threshold(_COLLECT_EVERY)
    atexit.register(gc.freeze)  # no search for cycles in what ends with the process
    try:
        app()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is where commands speak
        sys.exit(CONFIG_FAULT)
    except EXPECTED as error:
        print(f"soboo-mta: {error}", file=sys.stderr)  # noqa: T201 - as above
        is_typed = isinstance(error, (*WRONG_WORDS, SecretError))
        sys.exit(CONFIG_FAULT if is_typed else FAULT)


if __name__ == "__main__":
    main()
