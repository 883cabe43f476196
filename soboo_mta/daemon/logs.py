"""Logs: one JSON object a line on standard error, times in UTC.

Lines are written as they happen, each whole, so that processes may share the stream. Mail
does not stop for a log that cannot be written: lines are lost, counted, and told later.
"""

import json
import logging
import os
import sys
from typing import TextIO, cast

import structlog

# Without locals: they hold secrets and message bodies.
_TRACES = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def set_up_logs(level: str) -> None:
    """Send structlog's facts and the standard library's records to the same stream."""
    number = logging.getLevelNamesMapping()[level.upper()]
    lines = Lines(sys.stderr.fileno())
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            _TRACES,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, lines)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _TRACES,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.WARNING))


class Lines:
    """Writes lines to a descriptor, unbuffered; never raises for what a disk can do."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lost = 0

    def write(self, line: str) -> None:
        """Write a whole line; it is lost where the disk is full or the pipe gone."""
        try:
            if self._lost:
                told = {
                    "event": "log_lines_lost",
                    "lines": self._lost,
                    "level": "error",
                }
                self._put(json.dumps(told) + "\n")
                self._lost = 0
            self._put(line)
        except OSError:
            self._lost += 1

    def flush(self) -> None:
        """There is nothing to do: nothing is kept back."""

    def _put(self, text: str) -> None:
        octets = text.encode("utf-8", "backslashreplace")
        while octets:
            octets = octets[os.write(self._descriptor, octets) :]
