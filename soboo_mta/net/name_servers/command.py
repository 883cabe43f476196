"""Runs an operator's command beside a name server: without a shell, and not for ever."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

from soboo_mta.net.dns.questions import shortened
from soboo_mta.ports import NameServerError

COMMAND_TIMEOUT = timedelta(seconds=30)


async def run_command(
    argv: Sequence[str],
    places: Mapping[str, str],
    *,
    within: timedelta = COMMAND_TIMEOUT,
) -> None:
    """Run `argv`, each `{word}` of `places` filled in; raise NameServerError with what
    it wrote to stderr unless it ends with 0 in time."""
    words = [_filled(word, places) for word in argv]
    shown = shortened(" ".join(words))
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise NameServerError(f"{shown}: {error.strerror or error}") from error
    try:
        async with asyncio.timeout(within.total_seconds()):
            _, stderr = await process.communicate()
    except TimeoutError as error:
        seconds = within.total_seconds()
        raise NameServerError(f"{shown}: no end after {seconds:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = shortened(stderr.decode(errors="replace")) or "it says nothing"
        raise NameServerError(f"{shown}: exit code {process.returncode}: {said}")


def _filled(word: str, places: Mapping[str, str]) -> str:
    """Not str.format: a brace of the operator's own stays as it is."""
    for name, value in places.items():
        word = word.replace("{" + name + "}", value)
    return word
