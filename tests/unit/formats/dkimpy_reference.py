"""dkimpy's own signer as the reference that our signatures must equal at frozen time.

dkimpy has no `x=`. So the reference is dkimpy's own `DKIM.sign` with one change: its
list of tags has `x=` put in behind `t=` before it goes into dkimpy's own `gen_header`,
which selects, canonicalises, folds, hashes, signs and folds again by itself. For Ed25519
its PyNaCl key is replaced by OpenSSL's at the same place.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import SimpleNamespace

import dkim
import time_machine
from cryptography.hazmat.primitives import serialization

from soboo_mta.formats.canonical import body_hash, simple_body_hash
from soboo_mta.formats.dkim import OVERSIGNED, WEEK, Signer
from soboo_mta.formats.header import HeaderBlock
from soboo_mta.formats.keys import (
    SigningKey,
    generate_ed25519,
    generate_rsa,
    load_signing_key,
)
from soboo_mta.mail.domain import DnsName, Domain

AT = 1_795_000_000
RSA = generate_rsa(1_024)  # short: dkimpy's own RSA is slow
ED25519 = generate_ed25519()
RSA_KEY = load_signing_key(RSA.private, RSA.algorithm)
ED25519_KEY = load_signing_key(ED25519.private, ED25519.algorithm)
RSA_PEM = serialization.load_der_private_key(RSA.private, None).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.NoEncryption(),
)


@dataclass(frozen=True)
class Names:
    """d= and s=, as a signature plan has them."""

    domain: Domain
    selector: DnsName


CUSTOMER = Names(Domain("customer.example"), DnsName("sb1"))


def signed_by_us(
    content: bytes,
    key: SigningKey = RSA_KEY,
    names: Names = CUSTOMER,
    expires_after: int = WEEK,
) -> bytes:
    header = HeaderBlock.parse(content)
    return Signer().signature_header(
        header=header,
        body_hash=body_hash(header.body),
        plan=names,
        key=key,
        signed_at=AT,
        expires_after=expires_after,
    )


class WithExpiry(dkim.DKIM):
    """dkimpy's signer, with x= among its tags."""

    ed25519: SigningKey | None = None

    def gen_header(
        self,
        fields: list[tuple[bytes, bytes]],
        include_headers: Sequence[bytes],
        canon_policy: dkim.CanonicalizationPolicy,
        header_name: bytes,
        pk: object,
        standardize: bool = False,
    ) -> bytes:
        tags = [name for name, _ in fields]
        fields.insert(tags.index(b"t") + 1, (b"x", str(AT + WEEK).encode()))
        if key := self.ed25519:
            fields[1] = (b"a", b"ed25519-sha256")
            self.signature_algorithm = b"ed25519-sha256"
            pk = SimpleNamespace(
                sign=lambda digest: SimpleNamespace(signature=key.sign(digest))
            )
        return super().gen_header(
            fields, include_headers, canon_policy, header_name, pk, standardize
        )


def signed_by_dkimpy(
    content: bytes, names: Names, ed25519: SigningKey | None = None
) -> bytes:
    message = WithExpiry(content)
    message.ed25519 = ed25519
    present = [name.lower() for name, _ in message.headers]
    covered = [name for name in OVERSIGNED for _ in range(present.count(name) + 1)]
    with time_machine.travel(AT, tick=False):
        return message.sign(
            names.selector.encode(),
            names.domain.encode(),
            RSA_PEM,
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=covered,
        )


def signed_with_b_inside(content: bytes, names: Names, form: bytes) -> bytes:
    """A signature of From and body (c=`form`/simple) whose b= is not the last tag and has
    white space behind its value; dkimpy makes none and reads it wrongly."""
    header = HeaderBlock.parse(content)
    hashed = base64.b64encode(simple_body_hash(content, header.body_start).digest)
    before = b" v=1; a=rsa-sha256; c=%b/simple; d=%b; s=%b; b=" % (
        form,
        names.domain.encode(),
        names.selector.encode(),
    )
    after = b"; h=from; bh=" + hashed
    author = header.value(header.named(b"from")[0])
    if form == b"simple":
        text = b"From:" + author + b"DKIM-Signature:" + before + after
    else:
        text = (
            b"from:"
            + author.strip()
            + b"\r\ndkim-signature:"
            + (before + after).strip()
        )
    b = base64.b64encode(RSA_KEY.sign(sha256(text).digest()))
    folded = b"\r\n\t" + b[:70] + b"\r\n " + b[70:] + b" \r\n\t"
    return b"DKIM-Signature:" + before + folded + after + b"\r\n"
