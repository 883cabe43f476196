"""What a webhook costs the relay: none, one that answers at once, one that never does.

    .venv/bin/python bench/webhooks.py [ROUNDS]     # 3 by default

Each case: a fresh relay with one worker, 50 sessions that submit 10 KB as fast as they are
answered for 8 s, and a receiver of its own; the cases take turns. Says messages a second
until the last is delivered, the processor time of the relay for each message and how much of
it is the control process's, which tells webhooks (the rest is the way of a message), and the
events that the receiver was sent and accepted while that ran, and until 20 s later. All of it runs
on one machine. Events go over loopback in clear: TLS is a handshake for each connection,
which is kept.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import matrix
import uvloop

_PORT = 26194
_PATIENCE = 20.0  # seconds for events that come later than the last message
_SETTINGS = f"""
[webhooks]
ports = [{_PORT}]
private_destinations = true
"""
_CASES = ("none", "fast", "hangs")


def main() -> None:
    if sys.argv[1:2] == ["receive"]:
        uvloop.run(_receive(hangs=sys.argv[2] == "hangs", result=Path(sys.argv[3])))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(f"load average of the last minute before: {os.getloadavg()[0]:.2f}")
    rates: dict[str, list[float]] = {case: [] for case in _CASES}
    for _ in range(rounds):
        for case in _CASES:
            rates[case].append(_measured(case))
    for case, found in rates.items():
        each = ", ".join(f"{rate:.0f}" for rate in found)
        print(f"{case}: {median(found):.0f} messages a second ({each})")


def _measured(kind: str) -> float:
    case = matrix.Case()
    with matrix.place() as home:
        matrix.prepare(case, home, "")
        with (home / "soboo.toml").open("a") as settings:
            settings.write(_SETTINGS)
        if kind != "none":
            url = f"http://127.0.0.1:{_PORT}/"
            matrix.command(
                home, "webhook", "add", "--tenant", "t0", "--types", "delivered",
                "--url", url, "--json",
            )  # fmt: skip
        with (
            _receiver(kind, home) as receiver,
            matrix.sink(case, home) as hop,
            matrix.relay(home) as relay,
        ):
            control = matrix.processes(relay)[-1:]  # it starts last
            before = matrix.cpu_seconds(control)
            run = matrix.Rig(case, home, relay, hop).run(rate=0, first=0)
            messages = len(run.to_arrival)
            told_ms = 1_000 * (matrix.cpu_seconds(control) - before) / messages
            during = receiver.counts()
            after, waited = receiver.until(messages if kind == "fast" else 0)
    print(
        f"{kind}: {run.rate:.0f} messages a second, {run.cpu_ms:.2f} ms a message,"
        f" {told_ms:.2f} of it in the control process; of {messages} events {during[0]} were sent and {during[1]} accepted by the end,"
        f" {after[1]} accepted {waited:.1f} s later",
        flush=True,
    )
    return run.rate


class _Receiver:
    """The process that receives, and what it says it got."""

    def __init__(self, process: "subprocess.Popen[bytes]", result: Path) -> None:
        self._process = process
        self._result = result

    def counts(self) -> tuple[int, int]:
        """Requests that came, and those of other events that were accepted."""
        self._result.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        matrix.until("the receiver tells", self._result.exists)
        sent, accepted = json.loads(self._result.read_text())
        return int(sent), int(accepted)

    def until(self, accepted: int) -> tuple[tuple[int, int], float]:
        """Wait until so many were accepted, not forever; how long that took."""
        began = time.monotonic()
        while (found := self.counts())[1] < accepted:
            if time.monotonic() - began > _PATIENCE:
                break
            time.sleep(0.1)
        return found, time.monotonic() - began


@contextmanager
def _receiver(kind: str, home: Path) -> Iterator[_Receiver]:
    result = home / "received.json"
    command = [sys.executable, __file__, "receive", kind, str(result)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield _Receiver(process, result)
        finally:
            process.terminate()


async def _receive(*, hangs: bool, result: Path) -> None:
    """Take events until SIGTERM; where it hangs, read them and say nothing."""
    sent, accepted = 0, set[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(
                    line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2]
                )
                await reader.readexactly(int(fields[b"content-length"]))
                sent += 1
                if hangs:
                    await reader.read()
                    break
                accepted.add(fields[b"webhook-id"])
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the relay was told to stop
        writer.close()

    def tell() -> None:
        fresh = result.with_suffix(".new")
        fresh.write_text(json.dumps([sent, len(accepted)]))
        fresh.replace(result)

    over, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    loop.add_signal_handler(signal.SIGUSR1, tell)
    await asyncio.start_server(serve, "127.0.0.1", _PORT, backlog=500)
    print("listening", flush=True)
    await over.wait()


if __name__ == "__main__":
    main()
