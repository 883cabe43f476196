"""What runs in the plugin's processes: `soboo-mta`, ended when the test run ends.

`run WORDS` is the command line as it is. `commands` answers one command line a line of
JSON, in one warm process: each would cost half a second of loading else. Both end when
their standard input does, so that nothing outlives a test run that was killed.
"""

import io
import json
import os
import signal
import sys
import threading
import traceback
from contextlib import redirect_stderr, redirect_stdout

from soboo_mta.__main__ import main as soboo_mta


def main() -> None:
    """Do what the first word says."""
    kind, *words = sys.argv[1:]
    if kind == "commands":
        _answer_commands()
        return
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    sys.argv = ["soboo-mta", *words]
    soboo_mta()


def _end_with_the_parent() -> None:
    while os.read(sys.stdin.fileno(), 4_096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _answer_commands() -> None:
    for line in sys.stdin:
        sys.argv = ["soboo-mta", *json.loads(line)]
        said, complained = io.StringIO(), io.StringIO()
        code = 0
        with redirect_stdout(said), redirect_stderr(complained):
            try:
                soboo_mta()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            except Exception:  # noqa: BLE001  # the root of a command: told to the parent
                traceback.print_exc()
                code = 1
        answer = {"code": code, "out": said.getvalue(), "err": complained.getvalue()}
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer is what is said


if __name__ == "__main__":
    main()
