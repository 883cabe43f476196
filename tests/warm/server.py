"""The loaded process: runs each command that a client hands over in a fork of itself."""

import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from typing import Any

import typer

from soboo_mta.__main__ import main as soboo_mta
from soboo_mta.cli.app import app


def main() -> None:
    _load(typer.main.get_group(app))
    gc.collect()
    gc.freeze()  # else each fork would copy it all, to look for cycles
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(sys.argv[1])
        listening.listen(50)
        print("ready", flush=True)
        while True:
            readable, _, _ = select.select([sys.stdin, listening], [], [])
            if sys.stdin in readable:
                return
            client, _ = listening.accept()
            with client:
                if os.fork() == 0:
                    _serve(client)


def _load(command: Any) -> None:  # Any: typer's own copy of click has no public name
    """Import what each command below needs: it is imported when it is looked up."""
    for name in getattr(command, "list_commands", lambda _: ())(None):
        _load(command.get_command(None, name))


def _serve(client: socket.socket) -> None:
    """In the fork: be the command, tell its code and end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, _, _ = socket.recv_fds(client, 4, 3)
    octets = b""
    while len(octets) < int.from_bytes(length):
        piece = client.recv(65_536)
        if not piece:
            sys.exit()  # the client was killed
        octets += piece
    asked = json.loads(octets)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["in"])
    sys.argv = ["soboo-mta", *asked["words"]]
    code = 1
    try:
        soboo_mta()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    client.sendall(str(code).encode())
    os.dup(client.fileno())  # open until the very end: the client waits for it
    sys.exit()  # as a command does: its store is closed, the log of it put away


if __name__ == "__main__":
    main()
