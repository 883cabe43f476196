"""What soboo-mta uses of dkimpy 1.1.8, typed by reading its source."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import Logger
from typing import Protocol

Header = Sequence[bytes]  # name, value with folds and CRLF
DnsFunction = Callable[..., bytes | None]

class CanonicalizationPolicy(Protocol):
    def canonicalize_headers(
        self, headers: list[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]: ...

class DKIMException(Exception): ...
class InternalError(DKIMException): ...
class KeyFormatError(DKIMException): ...
class MessageFormatError(DKIMException): ...
class ParameterError(DKIMException): ...
class ValidationError(DKIMException): ...
class AuthresNotFoundError(DKIMException): ...
class NaClNotFoundError(DKIMException): ...
class UnknownKeyTypeError(DKIMException): ...
class DnsTimeoutError(DKIMException): ...

def fold(header: bytes, namelen: int = 0, linesep: bytes = b"\r\n") -> bytes: ...
def rfc822_parse(message: bytes) -> tuple[list[list[bytes]], bytes]: ...
def validate_signature_fields(sig: Mapping[bytes, bytes]) -> None: ...
def sign(
    message: bytes,
    selector: bytes,
    domain: bytes,
    privkey: bytes,
    identity: bytes | None = None,
    canonicalize: tuple[bytes, bytes] = ...,
    signature_algorithm: bytes = b"rsa-sha256",
    include_headers: Iterable[bytes] | None = None,
    length: bool = False,
    logger: Logger | None = None,
    linesep: bytes = b"\r\n",
    tlsrpt: bool | str = False,
) -> bytes: ...
def verify(
    message: bytes,
    logger: Logger | None = None,
    dnsfunc: DnsFunction = ...,
    minkey: int = 1024,
    timeout: int = 5,
    tlsrpt: bool | str = False,
) -> bool: ...

class DomainSigner:
    headers: list[list[bytes]]
    body: bytes
    domain: bytes | None
    selector: bytes
    signature_fields: dict[bytes, bytes]
    signature_algorithm: bytes
    signed_headers: list[tuple[bytes, bytes]]
    include_headers: tuple[bytes, ...]
    pk: object
    keysize: int
    ktag: bytes
    seqtlsrpt: bool
    timeout: int
    minkey: int
    logger: Logger
    def __init__(
        self,
        message: bytes | None = None,
        logger: Logger | None = None,
        signature_algorithm: bytes = b"rsa-sha256",
        minkey: int = 1024,
        linesep: bytes = b"\r\n",
        debug_content: bool = False,
        timeout: int = 5,
        tlsrpt: bool | str = False,
    ) -> None: ...
    def set_message(self, message: bytes | None) -> None: ...
    def gen_header(
        self,
        fields: list[tuple[bytes, bytes]],
        include_headers: Sequence[bytes],
        canon_policy: CanonicalizationPolicy,
        header_name: bytes,
        pk: object,
        standardize: bool = False,
    ) -> bytes: ...

class DKIM(DomainSigner):
    def sign(
        self,
        selector: bytes,
        domain: bytes,
        privkey: bytes,
        signature_algorithm: bytes | None = None,
        identity: bytes | None = None,
        canonicalize: tuple[bytes, bytes] = ...,
        include_headers: Iterable[bytes] | None = None,
        length: bool = False,
    ) -> bytes: ...
    def present(self) -> bool: ...
    def verify(self, idx: int = 0, dnsfunc: DnsFunction = ...) -> bool: ...
