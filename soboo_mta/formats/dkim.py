"""DKIM signatures, made and verified with dkimpy (RFC 6376, RFC 8463).

A signature comes out octet for octet as dkimpy's DKIM class writes it (tests show it):
its tags, their order and its folding. Ours are the `x=` tag, oversigning, header
selection and canonical forms by faster equals (0.03 ms for its 0.1), and OpenSSL's RSA
and Ed25519. Never `l=`, and no clock when signing; dkimpy reads its own when verifying.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Protocol

import dkim
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from soboo_mta.formats.canonical import relaxed_header, relaxed_value
from soboo_mta.formats.header import Field, HeaderBlock
from soboo_mta.formats.keys import Algorithm, SigningKey, txt_p
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError

OVERSIGNED = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"reply-to",
    b"sender",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
    b"in-reply-to",
    b"references",
    b"list-id",
    b"list-unsubscribe",
    b"list-unsubscribe-post",  # RFC 8058 §4: must be covered
    b"list-help",
    b"list-subscribe",
    b"list-post",
    b"list-owner",
    b"list-archive",
    b"feedback-id",
    b"cfbl-address",
    b"cfbl-feedback-id",
    b"auto-submitted",
    b"precedence",
)
"""The names every signature covers once more than they occur, so that none is added."""

WEEK = 7 * 86_400  # seconds; over the five days of retry, short against replay
_NAMES = frozenset(OVERSIGNED)
_FIELD_NAME = b"DKIM-Signature"
_ROOM = b"0" * 60  # makes dkimpy's fold put b= on a line of its own, as it does
_ALGORITHMS = frozenset(algorithm.encode() for algorithm in Algorithm)
MAX_SIGNATURES = 10  # verified per message: each costs a look-up and an RSA operation


class SignatureNames(Protocol):
    """What a signature says of itself; the identity room's SignaturePlan is one (it
    stands a floor above this)."""

    @property
    def domain(self) -> Domain: ...

    @property
    def selector(self) -> DnsName: ...


class Signer:
    """Signs headers c=relaxed/relaxed over a body hash made earlier; holds no state."""

    __slots__ = ()

    def prepare(self, header: HeaderBlock, body_hash: bytes) -> "Unsigned":
        """Return `header` canonical and hashed, for one or more signatures."""
        present: dict[bytes, list[Field]] = {}
        for field in header.fields:
            if field.name in _NAMES:
                present.setdefault(field.name, []).append(field)
        names: list[bytes] = []
        lines: list[bytes] = []
        for name in OVERSIGNED:
            names.append(name)
            for field in reversed(present.get(name, ())):  # RFC 6376 §5.4.2: upwards
                names.append(name)
                lines.append(relaxed_header(name, header.value(field)))
        return Unsigned(
            names=b" : ".join(names),
            lines=b"".join(lines),
            body_hash=base64.b64encode(body_hash),
        )

    def signature_header(
        self,
        *,
        header: HeaderBlock,
        body_hash: bytes,
        plan: SignatureNames,
        key: SigningKey,
        signed_at: int,
        expires_after: int = WEEK,
    ) -> bytes:
        """As `prepare` and `Unsigned.signature_header` in one."""
        return self.prepare(header, body_hash).signature_header(
            plan=plan, key=key, signed_at=signed_at, expires_after=expires_after
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """A message as its signatures cover it: `names` is the `h=` list, `lines` the
    canonical fields in that order, `body_hash` base64."""

    names: bytes
    lines: bytes
    body_hash: bytes

    def signature_header(
        self,
        *,
        plan: SignatureNames,
        key: SigningKey,
        signed_at: int,
        expires_after: int = WEEK,
    ) -> bytes:
        """Return the whole `DKIM-Signature` field with folds and CRLF.

        `signed_at` is in unix seconds, `expires_after` in seconds. Covers no other
        signature, so that several are made from one `Unsigned` in any order.
        """
        domain = plan.domain.encode()
        tags = (
            b"v=1; a=%b; c=relaxed/relaxed; d=%b; i=@%b; q=dns/txt; s=%b; t=%d; x=%d; "
            b"h=%b; bh=%b; b="
            % (
                key.algorithm.encode(),
                domain,
                domain,
                plan.selector.encode(),
                signed_at,
                signed_at + expires_after,
                self.names,
                self.body_hash,
            )
        )
        folded = _fold(tags + _ROOM)
        unsigned = folded[: -len(_ROOM)]
        digest = sha256(self.lines)
        digest.update(b"dkim-signature:" + relaxed_value(unsigned))
        signature = base64.b64encode(key.sign(digest.digest()))
        return b"DKIM-Signature: " + _fold(tags + signature + b"\r\n")


class Result(StrEnum):
    """RFC 8601 §2.7.1, as far as it concerns one signature that is there."""

    PASS = "pass"  # noqa: S105 - a result, not a password
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureVerdict:
    """What became of one signature; `domain` and `selector` as it claims them ("" where
    it cannot be read), `cause` one sentence unless it passes."""

    domain: str
    selector: str
    algorithm: str
    result: Result
    cause: str


def verify(
    content: bytes, lookup_txt: Callable[[str], str | None]
) -> tuple[SignatureVerdict, ...]:
    """Return one verdict for each DKIM-Signature field, from the top, at most ten.

    `lookup_txt` is given a name without final dot; it returns the record with its
    character-strings joined (as `ports.Found` has it), None where there is none, and
    raises OSError where DNS gave no answer. Never raises. A header that cannot be
    parsed at all is one PERMERROR.
    """
    try:
        message = _Verifier(content)
    except _TROUBLE as error:
        return (_verdict({}, Result.PERMERROR, f"unreadable header: {error}"),)
    present = sum(name.lower() == b"dkim-signature" for name, _ in message.headers)

    def dns(name: bytes, timeout: int = 5) -> bytes | None:
        txt = lookup_txt(name.decode("ascii").removesuffix("."))
        return None if txt is None else txt.encode("latin-1", "replace")

    return tuple(
        _verify_one(message, index, dns)
        for index in range(min(present, MAX_SIGNATURES))
    )


# dkimpy raises its own, and on odd input whatever its parsing runs into.
_TROUBLE = (
    dkim.DKIMException,
    ArithmeticError,
    AssertionError,
    AttributeError,
    FormatError,
    LookupError,
    TypeError,
    ValueError,
)


def _verify_one(
    message: "_Verifier", index: int, dns: Callable[..., bytes | None]
) -> SignatureVerdict:
    message.signature_fields = {}
    try:
        is_good = message.verify(index, dns)
    except OSError as error:
        return _verdict(
            message.signature_fields, Result.TEMPERROR, f"no answer from DNS: {error}"
        )
    except dkim.ValidationError as error:
        return _verdict(message.signature_fields, Result.FAIL, str(error))
    except _TROUBLE as error:
        cause = str(error) or type(error).__name__
        return _verdict(message.signature_fields, Result.PERMERROR, cause)
    if is_good:
        return _verdict(message.signature_fields, Result.PASS, "")
    return _verdict(
        message.signature_fields,
        Result.FAIL,
        "the signature does not match: the header was changed, or the key is another",
    )


def _verdict(
    fields: Mapping[bytes, bytes], result: Result, cause: str
) -> SignatureVerdict:
    return SignatureVerdict(
        domain=fields.get(b"d", b"").decode("latin-1").lower(),
        selector=fields.get(b"s", b"").decode("latin-1").lower(),
        algorithm=fields.get(b"a", b"").decode("latin-1").lower(),
        result=result,
        cause=cause,
    )


class _Verifier(dkim.DKIM):
    """dkimpy's verifier with a key's trouble raised instead of logged, `a=` held against
    the key's kind, and Ed25519 by OpenSSL (dkimpy wants PyNaCl)."""

    def verify_sig(
        self,
        sig: dict[bytes, bytes],
        include_headers: list[bytes],
        sig_header: tuple[bytes, bytes],
        dnsfunc: Callable[..., bytes | None],
    ) -> bool:
        if sig[b"a"] not in _ALGORITHMS:  # RFC 8301 §3.1: rsa-sha1 is not to be trusted
            raise dkim.KeyFormatError(f"a={sig[b'a'].decode('latin-1')} is obsolete")
        name = sig[b"s"] + b"._domainkey." + sig[b"d"] + b"."
        txt = dnsfunc(name, timeout=self.timeout)
        if not txt:
            raise dkim.KeyFormatError(
                f"no key is published at {name.decode('latin-1')}"
            )
        p, tags = txt_p(txt.decode("latin-1"))
        if not p:
            raise dkim.KeyFormatError("the key is revoked: its p= is empty")
        kind = tags.get("k", "rsa")
        if not sig[b"a"].startswith(kind.encode("latin-1") + b"-"):
            raise dkim.KeyFormatError(
                f"the signature's a= does not fit a key of k={kind}"
            )
        if "s" in tags.get("t", "").split(":") and not _is_by_the_domain_itself(sig):
            raise dkim.KeyFormatError("i= is below d=, which the key's t=s forbids")
        if kind != "ed25519":
            self.pk, self.keysize, self.ktag, self.seqtlsrpt = dkim.evaluate_pk(
                name, txt
            )
            if self.pk is None:
                raise dkim.KeyFormatError("the key is for another service: see its s=")
            return bool(
                self.verify_sig_process(sig, include_headers, sig_header, dnsfunc)
            )
        key = _Ed25519PublicKey(base64.b64decode(p))
        self.pk, self.keysize, self.ktag, self.seqtlsrpt = key, 256, b"ed25519", False
        self.verify_sig_process(sig, include_headers, sig_header, dnsfunc)
        return key.is_good


def _is_by_the_domain_itself(tags: Mapping[bytes, bytes]) -> bool:
    """Whether i=, where it stands, names d= and no subdomain (RFC 6376 §3.6.1)."""
    domain = tags[b"d"].lower()
    return tags.get(b"i", domain).lower().rpartition(b"@")[2] == domain


class _Ed25519PublicKey:
    """Keeps the result: to dkimpy a failure is an exception of PyNaCl, not there."""

    __slots__ = ("_key", "is_good")

    def __init__(self, octets: bytes) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(octets)
        self.is_good = False

    def verify(self, digest: bytes, signature: bytes) -> None:
        try:
            self._key.verify(signature, digest)
        except InvalidSignature:
            return
        self.is_good = True


def _fold(value: bytes) -> bytes:
    return dkim.fold(value, namelen=len(_FIELD_NAME))
