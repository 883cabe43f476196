"""Reads one return after another from standard input and says what each is.

Its arguments are the limits it takes on itself: octets of memory, seconds of processor for
each return, octets of an answer. Over one of them it ends, and whoever asked sees that.
"""

import resource
import sys
from typing import BinaryIO, Final

from soboo_mta.formats.returned.recognise import recognised
from soboo_mta.returns.reader.frames import QUESTION, answer, asked

OUT_OF_MEMORY: Final = 3  # exit code


def main(arguments: list[str]) -> int:
    memory, cpu_seconds, answer_octets = map(int, arguments)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes no files
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        _serve(sys.stdin.buffer, sys.stdout.buffer, cpu_seconds, answer_octets)
    except MemoryError:
        return OUT_OF_MEMORY
    except BrokenPipeError:
        return 0  # whoever asked is gone
    return 0


def _serve(source: BinaryIO, target: BinaryIO, cpu_seconds: int, limit: int) -> None:
    _allow(cpu_seconds)
    while len(head := source.read(QUESTION.size)) == QUESTION.size:
        arrival, length = asked(head)
        content = source.read(length)
        if len(content) < length:
            return
        target.write(answer(recognised(content, arrival), limit=limit))
        target.flush()
        _allow(cpu_seconds)


def _allow(cpu_seconds: int) -> None:
    """Let the next return take so many seconds of processor, counted from now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + cpu_seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
