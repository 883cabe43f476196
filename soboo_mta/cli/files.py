"""Files that a command is given: read whole, or refused."""

import sys
from pathlib import Path

from soboo_mta.mail.errors import FormatError


def octets_in(file: Path, *, limit: int = -1) -> bytes:
    """Return what is in `file`, or comes by standard input where it is called -.

    FormatError where it cannot be read, or has over `limit` octets (-1: no limit).
    """
    most = limit + 1 if limit >= 0 else -1
    if str(file) == "-":
        octets = sys.stdin.buffer.read(most)
    else:
        try:
            with file.open("rb") as opened:
                octets = opened.read(most)
        except OSError as error:
            raise FormatError(f"cannot read {file}: {error.strerror}") from error
    if 0 <= limit < len(octets):
        raise FormatError(f"{file} has over {limit} octets")
    return octets


def text_in(file: Path) -> str:
    """As `octets_in`, for a file in UTF-8; a byte order mark is left out."""
    try:
        return octets_in(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{file} is not UTF-8: {error}") from error
