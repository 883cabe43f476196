"""A report's file out of the gzip or zip that it was sent in: one file, of bounded size."""

import io
import zipfile
import zlib

from soboo_mta.mail.errors import FormatError

MAX_REPORT = 32 * 1024 * 1024  # octets unpacked; the largest that was seen has 7 MB
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_MAX_FILES = 20


def is_packed(octets: bytes) -> bool:
    return octets.startswith((_GZIP, _ZIP))


def unpacked(octets: bytes, *, limit: int = MAX_REPORT) -> bytes:
    """Return the file inside, or `octets` as they are where they are no archive.

    Raises FormatError for a broken archive, and for one with more than `limit` octets:
    nothing over that is unpacked.
    """
    if octets.startswith(_GZIP):
        return _from_gzip(octets, limit)
    if octets.startswith(_ZIP):
        return _from_zip(octets, limit)
    if len(octets) > limit:
        raise FormatError(f"the report has over {limit} octets")
    return octets


def _from_gzip(octets: bytes, limit: int) -> bytes:
    """The first member; one cut short gives what it holds."""
    stream = zlib.decompressobj(wbits=31)  # with gzip's header
    try:
        found = stream.decompress(octets, limit + 1)
    except zlib.error as error:
        raise FormatError(f"the gzip archive is broken: {error}") from error
    if not found:
        raise FormatError("the gzip archive is broken: it holds nothing")
    if len(found) > limit:
        raise FormatError(f"the gzip archive unpacks to over {limit} octets")
    return found


def _from_zip(octets: bytes, limit: int) -> bytes:
    """The first file of the likeliest name."""
    try:
        with zipfile.ZipFile(io.BytesIO(octets)) as archive:
            names = [one for one in archive.infolist()[:_MAX_FILES] if not one.is_dir()]
            if not names:
                raise FormatError("the zip archive is empty")
            names.sort(key=lambda one: not one.filename.lower().endswith(".xml"))
            with archive.open(names[0]) as file:
                found = file.read(limit + 1)
    except FormatError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,  # a method of compression that Python lacks
        RuntimeError,  # encrypted
        OSError,
        EOFError,
        ValueError,
    ) as error:
        raise FormatError(f"the zip archive is broken: {error}") from error
    if len(found) > limit:
        raise FormatError(f"the zip archive unpacks to over {limit} octets")
    return found
