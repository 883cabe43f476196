"""Customers' zones with one fault each, as zone files for a real name server.

A case begins with all that the customer and the operator publish, and changes one thing:
`customer` and `operator` take the lines of a zone and return those it has instead.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address

from soboo_mta.identity.records import (
    key_text,
    operator_records,
    required_records,
)
from soboo_mta.identity.state import (
    DomainSettings,
    Fault,
    KeyState,
    Mode,
    Operator,
    PublicKey,
    RecordStatus,
    RequiredRecord,
    Source,
)
from soboo_mta.identity.zones.zone_text import pieces, quoted, record_line
from soboo_mta.mail.domain import DnsName, Domain
from tests.fakes.domains import SETTINGS, key

SERVER = "127.0.7.1"
DELEGATED = "127.0.7.2"  # serves what is delegated below a customer's zone
OPERATOR = Operator(
    domain=Domain("esp.test"),
    bounce_domain=Domain("bounce.esp.test"),
    mx_hosts=(Domain("mx1.esp.test"), Domain("mx2.esp.test")),
    sources=(
        Source(
            name="out-1",
            address=None,
            public_address=ip_address("192.0.2.1"),
            ehlo_name=Domain("mta1.esp.test"),
        ),
    ),
    keys=(),
)
OTHER_TOKEN = "q7d2hmw4k3t6xv5zpjnb2ysf"
KEYS = (key(1, "sb1"), key(2, "sb2", KeyState.NEXT))
Lines = list[str]
Change = Callable[["Place", Lines], Lines]
_HEAD = """\
$ORIGIN {origin}.
$TTL 60
@ SOA ns1.{origin}. h.{origin}. 1 3600 600 1209600 5
@ NS ns1.{origin}.
ns1.{origin}. A {server}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """The names of one case."""

    settings: DomainSettings

    @property
    def zone(self) -> str:
        """The customer's own zone."""
        return self.settings.name.removeprefix("em.")

    def filled(self, line: str) -> str:
        """`line` with its placeholders; values of TXT come quoted from `txt`."""
        return line.format(
            zone=self.zone,
            token=self.settings.token,
            other=OTHER_TOKEN,
            k=f"{self.settings.token}.k.esp.test",
            b=f"{self.settings.token}.b.esp.test",
        )


def _kept(place: Place, lines: Lines) -> Lines:
    return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fault: at which record (below the zone, "" for itself) and how it came about."""

    fault: Fault
    at: str
    customer: Change = _kept
    operator: Change = _kept
    status: RecordStatus = RecordStatus.WRONG
    mode: Mode = Mode.CNAME
    keys: tuple[PublicKey, ...] = KEYS
    below: bool | None = None  # mode zone: em. is delegated, for mail from it (False:
    # from the zone above it)
    besides: frozenset[Fault] = frozenset()  # what else follows, at other records
    is_registered: bool = True
    says: str = ""  # in the cause, where two cases share a fault

    @property
    def zone(self) -> Domain:
        what = repr((self.says, self.at, self.mode, self.status)).encode()
        return Domain(
            f"{self.fault or self.says}-{hashlib.sha256(what).hexdigest()[:6]}.test"
        )

    @property
    def settings(self) -> DomainSettings:
        octets = hashlib.sha256(self.zone.encode()).digest()[:15]
        em = Domain(f"em.{self.zone}")
        return replace(
            SETTINGS,
            name=em if self.below else self.zone,
            mode=self.mode,
            token=base64.b32encode(octets).decode().lower(),
            keys=self.keys,
            zone=em if self.below is False else None,
        )

    @property
    def owner(self) -> str:
        return f"{self.at}.{self.zone}" if self.at else self.zone


# ---- changes


def instead(owner: str, *lines: str) -> Change:
    """Nothing at `owner` but these, which may stand elsewhere; `{zone}` and the like are
    filled in."""

    def change(place: Place, found: Lines) -> Lines:
        name = f"{owner}.{place.zone}." if owner else f"{place.zone}."
        kept = [line for line in found if not line.startswith(f"{name} ")]
        return [*kept, *map(place.filled, lines)]

    return change


def moved(owner: str, to: str) -> Change:
    """The record of `owner` at another name."""

    def change(place: Place, found: Lines) -> Lines:
        name = f"{owner}.{place.zone}. "
        return [
            f"{place.filled(to)}. {line.removeprefix(name)}"
            if line.startswith(name)
            else line
            for line in found
        ]

    return change


def key_as(*texts: str) -> Change:
    """These TXT at sb1, instead of the key."""
    lines = [f"sb1._domainkey.{{zone}}. IN TXT {txt(text)}" for text in texts]
    return instead("sb1._domainkey", *lines)


def spf_as(*records: str, extra: Iterable[str] = ()) -> Change:
    lines = [f"{{zone}}. IN TXT {txt(record)}" for record in records]
    return instead("", *lines, *extra)


def dmarc_as(*records: str) -> Change:
    return instead("_dmarc", *(f"_dmarc.{{zone}}. IN TXT {txt(r)}" for r in records))


def operators(wanted: str, *lines: str) -> Change:
    """In the operator's zone, these instead of those whose line begins so."""

    def change(place: Place, found: Lines) -> Lines:
        kept = [one for one in found if not one.startswith(place.filled(wanted))]
        return [*kept, *map(place.filled, lines)]

    return change


def txt(text: str) -> str:
    """A TXT value for a line that is filled in."""
    return quoted(text)


# ---- cases

_KEY = key_text(KEYS[0])
_P = KEYS[0].p
_FIRST, _SECOND = pieces(_KEY)
_OUR_SPF = "include:_spf.esp.test"
_ELEVEN = [
    f"i{n}.{{zone}}. IN TXT {txt('v=spf1 ip4:198.51.100.9 -all')}" for n in range(11)
]
_LOOP = ("a.{zone}. IN CNAME bounce.{zone}.",)
_LONG = [f"c{n}.{{zone}}. IN CNAME c{n + 1}.{{zone}}." for n in range(10)]


def _manual(fault: Fault, *texts: str, says: str = "") -> Case:
    return Case(
        fault=fault,
        at="sb1._domainkey",
        customer=key_as(*texts),
        mode=Mode.MANUAL,
        says=says,
    )


def _spf(
    fault: Fault,
    *records: str,
    extra: Iterable[str] = (),
    says: str = "",
    status: RecordStatus = RecordStatus.WRONG,
) -> Case:
    return Case(
        fault=fault,
        at="",
        customer=spf_as(*records, extra=extra),
        mode=Mode.MANUAL,
        keys=(),
        says=says,
        status=status,
    )


def _dmarc(
    fault: Fault,
    *records: str,
    says: str = "",
    status: RecordStatus = RecordStatus.WRONG,
) -> Case:
    return Case(
        fault=fault, at="_dmarc", customer=dmarc_as(*records), says=says, status=status
    )


def _target(fault: Fault, target: str, says: str = "") -> Case:
    line = f"sb1._domainkey.{{zone}}. IN CNAME {target}"
    return Case(
        fault=fault,
        at="sb1._domainkey",
        customer=instead("sb1._domainkey", line),
        says=says,
    )


def _em(
    fault: Fault,
    *servers: str,
    says: str = "",
    status: RecordStatus = RecordStatus.WRONG,
) -> Case:
    """em.<zone> is delegated to these."""
    dmarc = f"_dmarc.{{zone}}. IN TXT {txt('v=DMARC1; p=none')}"
    lines = [f"em.{{zone}}. IN NS {server}" for server in servers]
    return Case(
        fault=fault,
        at="em",
        customer=instead("em", dmarc, *lines),
        mode=Mode.ZONE,
        below=True,
        says=says,
        status=status,
    )


def _strict(fault: Fault, record: str) -> Case:
    """em.<zone> is ours, and nothing lets us sign as the zone above it."""

    def change(place: Place, lines: Lines) -> Lines:
        kept = [line for line in lines if "._domainkey." not in line]
        return dmarc_as(record)(place, kept)

    return Case(
        fault=fault,
        at="_dmarc",
        customer=change,
        mode=Mode.ZONE,
        below=False,
        besides=frozenset((Fault.NO_NAME,)),
    )


_NAMES = (
    Case(
        fault=Fault.NOT_REGISTERED,
        at="bounce",
        is_registered=False,
        status=RecordStatus.MISSING,
    ),
    Case(
        fault=Fault.NO_NAME,
        at="bounce",
        customer=instead("bounce"),
        status=RecordStatus.MISSING,
    ),
    Case(
        fault=Fault.NO_TYPE,  # the name is there, since something is below it
        at="bounce",
        customer=instead("bounce", "x.bounce.{zone}. IN A 192.0.2.77"),
        status=RecordStatus.MISSING,
    ),
    Case(
        fault=Fault.DOUBLED_ZONE,
        at="sb1._domainkey",
        customer=moved("sb1._domainkey", "sb1._domainkey.{zone}.{zone}"),
        status=RecordStatus.MISSING,
    ),
    Case(
        fault=Fault.DOUBLED_ZONE,
        at="_dmarc",
        customer=moved("_dmarc", "_dmarc.{zone}.{zone}"),
        status=RecordStatus.MISSING,
    ),
    Case(
        fault=Fault.MISSING_LABEL,
        at="sb1._domainkey",
        customer=moved("sb1._domainkey", "sb1.{zone}"),
        status=RecordStatus.MISSING,
        says="is at sb1.missing-label",
    ),
    Case(
        fault=Fault.MISSING_LABEL,
        at="sb2._domainkey",
        customer=moved("sb2._domainkey", "_domainkey.{zone}"),
        status=RecordStatus.MISSING,
        says="is at _domainkey.missing-label",
    ),
    Case(
        fault=Fault.MISSING_LABEL,
        at="_dmarc",
        customer=moved("_dmarc", "{zone}"),
        status=RecordStatus.MISSING,
    ),
    Case(
        fault=Fault.MISSING_LABEL,
        at="_soboo",
        customer=moved("_soboo", "{zone}"),
        mode=Mode.MANUAL,
        keys=(),
        status=RecordStatus.MISSING,
    ),
    Case(
        fault=Fault.MISSING_UNDERSCORE,
        at="sb1._domainkey",
        customer=moved("sb1._domainkey", "sb1.domainkey.{zone}"),
        status=RecordStatus.MISSING,
    ),
    Case(
        fault=Fault.WILDCARD,
        at="bounce",
        customer=instead("bounce", "*.{zone}. IN CNAME parking.test."),
    ),
    Case(
        fault=Fault.WILDCARD,
        at="bounce",
        customer=instead("bounce", "*.{zone}. IN A 192.0.2.80"),
        status=RecordStatus.MISSING,
        says="a wildcard above it",
    ),
    Case(
        fault=Fault.WILDCARD,
        at="_soboo",
        customer=instead("_soboo", f"*.{{zone}}. IN TXT {txt('v=spf1 -all')}"),
        mode=Mode.MANUAL,
        keys=(),
    ),
)
_TYPES = (
    Case(
        fault=Fault.WRONG_TYPE,
        at="sb1._domainkey",
        customer=instead("sb1._domainkey", 'sb1._domainkey.{zone}. IN TXT "sb1.{k}."'),
        says="entered as text",
    ),
    Case(
        fault=Fault.WRONG_TYPE,
        at="bounce",
        customer=instead("bounce", "bounce.{zone}. IN MX 10 mail.{zone}."),
    ),
    Case(
        fault=Fault.WRONG_TYPE,
        at="sb1._domainkey",
        customer=instead("sb1._domainkey", "sb1._domainkey.{zone}. IN CNAME sb1.{k}."),
        mode=Mode.MANUAL,
        says="a TXT record is wanted",
    ),
    Case(
        fault=Fault.CONFLICT,
        at="bounce",
        customer=instead("bounce", "bounce.{zone}. IN A 192.0.2.77"),
    ),
    Case(
        fault=Fault.FLATTENED,
        at="sb1._domainkey",
        customer=key_as(_KEY),
    ),
    Case(
        fault=Fault.FLATTENED,
        at="bounce",
        customer=instead(
            "bounce",
            "bounce.{zone}. IN MX 10 mx1.esp.test.",
            "bounce.{zone}. IN MX 10 mx2.esp.test.",
        ),
    ),
    Case(
        fault=Fault.PROXIED,
        at="bounce",
        customer=instead("bounce", "bounce.{zone}. IN A 104.16.7.7"),
    ),
    Case(
        fault=Fault.ENDLESS_CHAIN,
        at="bounce",
        customer=instead("bounce", "bounce.{zone}. IN CNAME a.{zone}.", *_LOOP),
        says="leads back to itself",
    ),
    Case(
        fault=Fault.ENDLESS_CHAIN,
        at="bounce",
        customer=instead("bounce", "bounce.{zone}. IN CNAME c0.{zone}.", *_LONG),
        says="is over 8 names long",
    ),
)
_TARGETS = (
    _target(Fault.WRONG_TARGET, "key.hosting.test."),
    _target(Fault.RELATIVE_TARGET, "sb1.{k}"),
    _target(Fault.MISTYPED_TARGET, "sb1.{k}a.", says="typed wrongly"),
    _target(Fault.MISTYPED_TARGET, "sb1.{token}x.k.esp.test.", says="sb1"),
    _target(Fault.OTHER_ACCOUNT, "sb1.{other}.k.esp.test."),
    _target(Fault.OTHER_PROVIDER, "s1.domainkey.u1.wl.sendgrid.net.", "SendGrid"),
    _target(Fault.OTHER_PROVIDER, "x.dkim.amazonses.com.", "Amazon SES"),
    _target(Fault.OTHER_PROVIDER, "pdk1._domainkey.9d.dkim1.mailgun.com.", "Mailgun"),
    _target(Fault.OTHER_PROVIDER, "eu.sparkpostmail.com.", "SparkPost"),
    _target(Fault.OTHER_PROVIDER, "dkim2.mcsv.net.", "Mailchimp"),
    _target(Fault.SWAPPED, "sb2.{k}."),
)
_PASTED = (
    _manual(Fault.QUOTED, f'"{_KEY}"'),
    _manual(Fault.ESCAPED, _KEY.replace(";", "\\;")),
    _manual(Fault.NAME_IN_VALUE, f"sb1._domainkey TXT {_KEY}"),
    _manual(Fault.SEVERAL_KEYS, _KEY, "v=DKIM1; p=AAAA"),
    _manual(Fault.SPLIT_KEY, _FIRST, _SECOND),
    _manual(Fault.DISORDERED_KEY, _SECOND + _FIRST),
    _manual(Fault.BARE_KEY, _P),
    _manual(Fault.TRUNCATED_KEY, _FIRST, says="was cut after"),
    _manual(Fault.TRUNCATED_KEY, _KEY.replace(_P, _P[40:]), says="are missing"),
    _manual(Fault.CASE_FOLDED_KEY, _KEY.replace(_P, _P.lower())),
    _manual(Fault.OTHER_KEY, "v=DKIM1; k=rsa; p=AAAA"),
    _manual(Fault.SWAPPED, key_text(KEYS[1])),
    _manual(Fault.EMPTY_KEY, "v=DKIM1; k=rsa; p="),
    _manual(Fault.KEY_TAGS, _KEY + "; t=y", says="t=y"),
    _manual(Fault.KEY_TAGS, "v=DKIM1; k=rsa", says="no p= tag"),
    replace(
        _manual(Fault.WRAPPED_KEY, _KEY.replace(_P, f"{_P[:99]} {_P[99:]}")),
        status=RecordStatus.GOOD,
    ),
    replace(
        _manual(Fault.KEY_NOT_REVOKED, _KEY),
        keys=(replace(KEYS[0], state=KeyState.REVOKED), KEYS[1]),
    ),
    Case(
        fault=Fault.WRONG_VALUE,
        at="_soboo",
        customer=instead("_soboo", '_soboo.{zone}. IN TXT "v=soboo1; t={other}"'),
        mode=Mode.MANUAL,
        keys=(),
    ),
)
_OPERATORS = (
    Case(
        fault=Fault.OPERATOR_KEY, at="sb1._domainkey", operator=operators("sb1.{k}. ")
    ),
    Case(fault=Fault.NO_MX, at="bounce", operator=operators("{b}. IN MX")),
    Case(
        fault=Fault.NULL_MX,
        at="bounce",
        operator=operators("{b}. IN MX", "{b}. IN MX 0 ."),
    ),
    Case(
        fault=Fault.FOREIGN_MX,
        at="bounce",
        operator=operators("; none", "{b}. IN MX 20 mail.{zone}."),
    ),
    Case(
        fault=Fault.OPERATOR_SPF,
        at="bounce",
        operator=operators("{b}. IN TXT", '{b}. IN TXT "v=spf1 -all"'),
    ),
)
_SPF = (
    _spf(Fault.SPF_MISSING, status=RecordStatus.MISSING),
    _spf(Fault.SPF_SEVERAL, f"v=spf1 {_OUR_SPF} ~all", "v=spf1 mx ~all"),
    _spf(
        Fault.SPF_LOOKUPS,
        " ".join(
            ["v=spf1", *(f"include:i{n}.{{zone}}" for n in range(11)), _OUR_SPF, "~all"]
        ),
        extra=_ELEVEN,
    ),
    _spf(
        Fault.SPF_VOIDS,
        f"v=spf1 a:n1.{{zone}} a:n2.{{zone}} a:n3.{{zone}} {_OUR_SPF} ~all",
    ),
    _spf(Fault.SPF_OPEN, "v=spf1 +all"),
    _spf(Fault.SPF_SYNTAX, f"v=spf1 ipv4:192.0.2.9 {_OUR_SPF} ~all"),
    _spf(Fault.SPF_SYNTAX, f"v=spf1 include: {_OUR_SPF[8:]} ~all", says="a blank"),
    _spf(Fault.SPF_PASTED_TWICE, f"v=spf1 mx ~all v=spf1 {_OUR_SPF} ~all"),
    _spf(Fault.SPF_BROKEN_INCLUDE, f"v=spf1 include:gone.{{zone}} {_OUR_SPF} ~all"),
    _spf(Fault.SPF_WITHOUT_US, "v=spf1 ip4:198.51.100.9 ~all"),
    _spf(Fault.SPF_UNREAD, f"v=spf1 -all {_OUR_SPF}"),
    _spf(Fault.SPF_NEGATED, f"v=spf1 ~{_OUR_SPF} -all"),
    _spf(Fault.SPF_MISNAMED, "v=spf1 include:esp.test ~all"),
    _spf(Fault.QUOTED, f'"v=spf1 {_OUR_SPF} ~all"'),
)
_DMARC = (
    _dmarc(Fault.DMARC_MISSING, status=RecordStatus.MISSING),
    _dmarc(Fault.DMARC_SEVERAL, "v=DMARC1; p=none", "v=DMARC1; p=reject"),
    _dmarc(Fault.DMARC_SYNTAX, "v=DMARC1; p=nothing", says="no valid p="),
    _dmarc(Fault.DMARC_SYNTAX, "DMARC1; p=none", says="does not begin"),
    _dmarc(
        Fault.DMARC_REPORTS,
        "v=DMARC1; p=none; rua=mailto:d@reports.test",
        status=RecordStatus.GOOD,
    ),
)
_EM = (
    _em(Fault.NOT_DELEGATED, status=RecordStatus.MISSING),
    _em(Fault.OTHER_SERVERS, "ns.hosting.test.", says="ns.hosting.test"),
    _em(Fault.OTHER_SERVERS, "ns1.{token}.n.esp.test.", says="is missing"),
    _em(Fault.OTHER_ACCOUNT, "ns1.{other}.n.esp.test."),
    replace(  # the delegation is right: what lacks is ours
        _em(Fault.NO_MX, "ns1.{token}.n.esp.test.", "ns2.{token}.n.esp.test."),
        operator=operators("bounce.em.{zone}. IN MX"),
        status=RecordStatus.GOOD,
    ),
    _strict(Fault.DMARC_STRICT, "v=DMARC1; p=reject; adkim=s; aspf=s"),
    replace(
        _strict(Fault.DMARC_STRICT_DKIM, "v=DMARC1; p=reject; adkim=s"),
        status=RecordStatus.GOOD,
    ),
)
CASES = (
    *_NAMES,
    *_TYPES,
    *_TARGETS,
    *_PASTED,
    *_OPERATORS,
    *_SPF,
    *_DMARC,
    *_EM,
)


# ---- zones


def zones(cases: Iterable[Case]) -> dict[str, dict[str, str]]:
    """Return server → origin → zone file of a whole small internet with these cases."""
    parent: Lines = [
        f"esp.test. NS ns1.esp.test.\nns1.esp.test. A {SERVER}",
        f"ns.hosting.test. A {DELEGATED}",
    ]
    ours: Lines = [record_line(one) for one in operator_records(OPERATOR, ())]
    ours.append(f"ns1.{OTHER_TOKEN}.n.esp.test. A {DELEGATED}")
    files: dict[str, str] = {}
    below: dict[str, str] = {}
    for case in cases:
        place = Place(case.settings)
        ours += _operators_lines(case, place)
        if not case.is_registered:
            continue
        own = _head(place.zone) + "\n".join(_customers_lines(case, place))
        files[place.zone] = own + "\n"
        if case.below is not None:
            below[place.settings.home] = _delegated(case, place)
        glue = f"ns1.{place.zone}. A {SERVER}"
        parent.append(f"{place.zone}. NS ns1.{place.zone}.\n{glue}")
    ours += [f"{host}. A {SERVER}" for host in OPERATOR.mx_hosts]
    unique = dict.fromkeys(ours)
    files["esp.test"] = _head("esp.test") + "\n".join(unique) + "\n"
    files["test"] = _head("test") + "\n".join(parent) + "\n"
    return {SERVER: files, DELEGATED: below}


def _head(origin: str) -> str:
    return _HEAD.format(origin=origin, server=SERVER)


def _delegated(case: Case, place: Place) -> str:
    """The zone that we serve."""
    home, token = place.settings.home, place.settings.token
    found = operator_records(OPERATOR, (place.settings,))
    lines = [
        record_line(one)
        for one in found
        if one.owner == home or one.owner.is_below(home)
    ]
    lines = case.operator(place, lines)
    names = [f"{home}. NS ns{n}.{token}.n.esp.test." for n in (1, 2)]
    soa = f"{home}. 60 SOA ns1.{token}.n.esp.test. h.{home}. 1 3600 600 1209600 5"
    return "\n".join(["$TTL 60", soa, *names, *lines]) + "\n"


def _customers_lines(case: Case, place: Place) -> Lines:
    found = [record_line(one) for one in required_records(place.settings, OPERATOR)]
    return case.customer(place, found)


def _operators_lines(case: Case, place: Place) -> Lines:
    found = operator_records(OPERATOR, (place.settings,))
    own = set(operator_records(OPERATOR, ()))
    targets = [record_line(one) for one in found if _is_ours(one) and one not in own]
    if case.mode is Mode.ZONE:
        token = place.settings.token
        targets += [f"ns{n}.{token}.n.esp.test. A {DELEGATED}" for n in (1, 2)]
    return case.operator(place, targets)


def _is_ours(record: RequiredRecord) -> bool:
    return DnsName(record.owner).is_below("esp.test")
