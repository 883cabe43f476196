"""Whether the files of certificates that the settings name can be used, and what is wrong.

Reads them; keeps nothing. Never shows what is in one.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path

from soboo_mta.settings.model import Settings

_CERTIFICATE = b"CERTIFICATE-----"
_PRIVATE_KEY = b"PRIVATE KEY-----"
_WORDS = {
    "KEY_VALUES_MISMATCH": "the private key is not that of the certificate",
}


def faults_of_certificates(settings: Settings) -> Iterator[str]:
    """Return a sentence for each fault of [tls] and of the listeners' client_ca_file."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls = settings.tls
    if tls.certificate_file is not None and tls.private_key_file is not None:
        faults = [
            *_unreadable("[tls] certificate_file", tls.certificate_file, _CERTIFICATE),
            *_unreadable("[tls] private_key_file", tls.private_key_file, _PRIVATE_KEY),
        ]
        yield from faults
        try:
            if not faults:
                context.load_cert_chain(tls.certificate_file, tls.private_key_file)
        except OSError as error:  # ssl.SSLError is one
            both = f"{tls.certificate_file} with {tls.private_key_file}"
            yield f"[tls] {both}: {_said(error)}"
    for file in dict.fromkeys(one.client_ca_file for one in settings.listeners):
        if file is None:
            continue
        where = "[[listeners]] client_ca_file"
        faults = [*_unreadable(where, file, _CERTIFICATE)]
        yield from faults
        try:
            if not faults:
                context.load_verify_locations(file)
        except OSError as error:
            yield f"{where} {file}: {_said(error)}"


def _unreadable(where: str, file: Path, wanted: bytes) -> Iterator[str]:
    what = wanted.decode().strip("-").lower()
    try:
        if wanted not in file.read_bytes():
            yield f"{where} {file} holds no PEM {what} (-----BEGIN {wanted.decode()})"
    except OSError as error:
        yield f"{where} {file}: {error.strerror}"


def _said(error: OSError) -> str:
    """The library's own text of a PEM it cannot parse names nothing but its source."""
    if isinstance(error, ssl.SSLError):
        return _WORDS.get(error.reason, error.reason) or "the PEM in it is damaged"
    return str(error.strerror)


def listener_tls(
    settings: Settings, client_ca_file: Path | None = None
) -> ssl.SSLContext | None:
    """The context of a listener; OSError where a file can't be loaded."""
    if settings.tls.certificate_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(
        settings.tls.certificate_file, settings.tls.private_key_file
    )
    if client_ca_file is not None:
        context.load_verify_locations(client_ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL  # AUTH PLAIN is for those without
    return context
