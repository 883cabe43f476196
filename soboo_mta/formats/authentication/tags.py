"""The tags of a DKIM signature and of its key: what they must say before anything is hashed
(RFC 6376 §6.1.1, §6.1.2; RFC 8301).

dkimpy splits them and knows their rules, by its own clock. FormatError, dkimpy's
ValidationError and LookupError say that a signature can't be good.
"""

from collections.abc import Mapping

import dkim
from dkim.util import InvalidTagValueList, parse_tag_value

from soboo_mta.formats.keys import Algorithm, txt_p
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError

MAX_SIGNATURE = 16_384  # octets of one field; real ones with a long h= or z= have 4,000
_WRAPPED = (b"b", b"bh", b"h")  # white space anywhere (RFC 6376 §3.5)
_FORMS = frozenset((b"simple", b"relaxed"))

Tags = Mapping[bytes, bytes]


def read_tags(value: bytes) -> Tags:
    """Return the tags of a signature, whatever they say; b=, bh= and h= without white
    space, on which dkimpy's expressions take quadratic time."""
    if len(value) > MAX_SIGNATURE:
        raise FormatError(f"the signature is over {MAX_SIGNATURE} octets")
    try:
        tags = parse_tag_value(value)
    except InvalidTagValueList as error:
        raise FormatError("the signature is no list of tags") from error
    for name in _WRAPPED:
        if name in tags:
            tags[name] = b"".join(tags[name].split())
    return tags


def check_tags(tags: Tags) -> None:
    """Return where a signature with these tags may be good."""
    dkim.validate_signature_fields(tags)
    algorithm_of(tags)
    if b"from" not in covered(tags):  # RFC 6376 §5.4
        raise FormatError("its h= leaves out From")
    forms_of(tags)
    key_name(tags)


def algorithm_of(tags: Tags) -> Algorithm:
    """RFC 8301 §3.1: rsa-sha1 is not to be trusted."""
    name = tags[b"a"].decode("latin-1")
    try:
        return Algorithm(name)
    except ValueError as error:
        raise FormatError(f"a={name} is obsolete") from error


def covered(tags: Tags) -> list[bytes]:
    """The names of h=, in lower case."""
    return tags[b"h"].lower().split(b":")


def forms_of(tags: Tags) -> tuple[bytes, bytes]:
    """The canonical forms of header and body (RFC 6376 §3.5)."""
    header, _, body = tags.get(b"c", b"simple").partition(b"/")
    forms = header, body or b"simple"
    if not _FORMS.issuperset(forms):
        raise FormatError("its c= names an unknown form")
    return forms


def key_name(tags: Tags) -> DnsName:
    """Where the key is published (RFC 6376 §3.6.2.1)."""
    domain = Domain.parse(tags[b"d"].decode("latin-1"))
    return DnsName.parse(f"{tags[b's'].decode('latin-1')}._domainkey.{domain}")


def key_in(txt: str | None, tags: Tags, *, is_tls_report: bool) -> str:
    """Return the p= of the key record if it may have made the signature (RFC 6376
    §3.6.1)."""
    if not txt:
        raise FormatError(f"no key is published at {key_name(tags)}")
    p, key = txt_p(txt)
    if not p:
        raise FormatError("the key is revoked: its p= is empty")
    kind = key.get("k", "rsa")
    if algorithm_of(tags) != f"{kind}-sha256":
        raise FormatError(f"the signature's a= does not fit a key of k={kind}")
    if "sha256" not in _listed(key.get("h", "sha256")):
        raise FormatError("the key is for another hash: see its h=")
    services = {"*", "email"}
    if is_tls_report:  # RFC 8460 §3
        services.add("tlsrpt")
    if services.isdisjoint(_listed(key.get("s", "*"))):
        raise FormatError("the key is for another service: see its s=")
    if "s" in _listed(key.get("t", "")) and not _is_by_the_domain_itself(tags):
        raise FormatError("i= is below d=, which the key's t=s forbids")
    return p


def _listed(value: str) -> list[str]:
    return [one.strip() for one in value.split(":")]


def _is_by_the_domain_itself(tags: Tags) -> bool:
    """Whether i=, where it stands, names d= and no subdomain (RFC 6376 §3.6.1)."""
    domain = tags[b"d"].lower()
    return tags.get(b"i", domain).lower().rpartition(b"@")[2] == domain
