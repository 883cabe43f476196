"""Secrets that others gave us, read from where a file, a variable or a pipe has them."""

import os
from pathlib import Path

from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.way_out import Secret

_MAX_OCTETS = 65_536  # of a file: more is none of ours, and is not read


def secret_in_file(path: Path) -> Secret:
    """Return the one line that `path` holds; FormatError where it can't be read, others
    may read it, or it is no secret."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            octets = file.read(_MAX_OCTETS)
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}") from error
    if mode & 0o077:
        raise FormatError(f"{path} can be read by others: chmod 600 {path}")
    return _secret(octets, str(path))


def secret_in_variable(name: str) -> Secret:
    """Return what the variable of the environment holds; raise FormatError."""
    text = os.environ.get(name)
    if text is None:
        raise FormatError(f"the variable {name} of the environment is not set")
    return _secret(text.encode(errors="surrogateescape"), name)


def secret_in_pipe(octets: bytes) -> Secret:
    """Return what came by standard input; raise FormatError."""
    return _secret(octets[:_MAX_OCTETS], "standard input")


def _secret(octets: bytes, where: str) -> Secret:
    try:
        text = octets.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise FormatError(f"{where} holds no secret: it is not text") from error
    try:
        return Secret(text)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
