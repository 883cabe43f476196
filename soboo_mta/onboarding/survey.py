"""What a domain's DNS holds before anything is set up for it, and the set-up that fits.

`survey` asks; `advise` is pure. A label is ours to take only where DNS is known to have
nothing: a record of the customer's, or of another provider, is never asked to give way.
What an earlier set-up of ours left behind is no obstacle: its records get new values.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from soboo_mta.identity.dmarc import Suffixes, names_to_ask, unknown_view, view_by_walk
from soboo_mta.identity.state import Alignment, DmarcView, Mode, Operator
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.onboarding.judging.judge import printable, shown, texts
from soboo_mta.ports import (
    Answer,
    Found,
    NoData,
    NoName,
    RecordType,
    Resolver,
    Unanswered,
)

BOUNCE_LABELS = ("bounce", "bounces", "returns", "bounce2")
ZONE_LABELS = ("em", "mail", "news", "send")
SELECTORS = tuple(DnsName(f"sb{number}") for number in (1, 2, 3, 5, 6, 7, 8, 9))
"""Less sb4: it is kept for Ed25519."""
_SELECTORS_NEEDED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """One look at a domain. `zone` holds it, None where no zone was found; `taken` are
    names we might use and what stands there, `silent` those nothing was heard of."""

    name: Domain
    zone: DnsName | None
    name_servers: tuple[DnsName, ...]
    taken: Mapping[DnsName, str]
    silent: frozenset[DnsName]
    dmarc: DmarcView
    has_wildcard: bool = False

    def is_free(self, name: DnsName) -> bool:
        """Whether DNS is known to have nothing there."""
        return name not in self.taken and name not in self.silent


async def survey(
    name: Domain,
    *,
    resolver: Resolver,
    operator: Operator,
    suffixes: Suffixes,
    probe: str,
) -> Survey:
    """Look at what `name` has in DNS. `probe` is a label that nobody has: what answers
    for it is a wildcard (RFC 4592 §2.2.1), and says nothing about other labels."""
    zone, servers = await _zone_of(name, resolver, suffixes)
    places = tuple(_places(name))
    if zone is None:  # nothing else would be answered
        return _nothing_heard(name, places)
    # What a wildcard says of each place, by the name above it and the type.
    made_up = {
        (_above(place), kind): f"{probe}.{_above(place)}" for place, kind in places
    }
    answers = await asyncio.gather(
        *(resolver.lookup(place, kind, fresh=True) for place, kind in places),
        *(resolver.lookup(one, kind, fresh=True) for (_, kind), one in made_up.items()),
    )
    wild = dict(zip(made_up, answers[len(places) :], strict=True))
    taken: dict[DnsName, str] = {}
    silent: set[DnsName] = set()
    for (place, kind), answer in zip(places, answers, strict=False):
        if isinstance(answer, Unanswered):
            silent.add(place)
        elif not _is_nothing(answer, wild[_above(place), kind], operator):
            taken[place] = _what(answer)
    return Survey(
        name=name,
        zone=zone,
        name_servers=servers,
        taken=taken,
        silent=frozenset(silent),
        dmarc=await _dmarc(name, resolver),
        has_wildcard=any(
            isinstance(one, Found | NoData) or _chain(one) for one in wild.values()
        ),
    )


def _nothing_heard(
    name: Domain, places: tuple[tuple[DnsName, RecordType], ...]
) -> Survey:
    return Survey(
        name=name,
        zone=None,
        name_servers=(),
        taken={},
        silent=frozenset(place for place, _ in places),
        dmarc=unknown_view(),
    )


def _places(name: Domain) -> Iterator[tuple[DnsName, RecordType]]:
    for label in BOUNCE_LABELS:
        yield DnsName(f"{label}.{name}"), RecordType.TXT
    for label in ZONE_LABELS:
        yield DnsName(f"{label}.{name}"), RecordType.NS
    for selector in SELECTORS:
        yield DnsName(f"{selector}._domainkey.{name}"), RecordType.TXT


async def _zone_of(
    name: Domain, resolver: Resolver, suffixes: Suffixes
) -> tuple[DnsName | None, tuple[DnsName, ...]]:
    """The zone that holds `name`, and its servers; none above the organisation counts."""
    top = suffixes.organizational_domain(name)
    at: str = name
    while at == top or at.endswith(f".{top}"):
        answer = await resolver.lookup(at, RecordType.NS)
        if isinstance(answer, Found) and not answer.chain:
            return DnsName(at), tuple(DnsName(str(one)) for one in answer.records)
        at = at.partition(".")[2]
    return None, ()


async def _dmarc(name: Domain, resolver: Resolver) -> DmarcView:
    found = {
        place: texts(await resolver.lookup(place, RecordType.TXT, fresh=True))
        for place in names_to_ask(name)
    }
    return view_by_walk(name, (), found)


def _is_nothing(answer: Answer, wildcard: Answer, operator: Operator) -> bool:
    """Whether nothing of others stands at a name: no such name, a wildcard's answer, or
    what an earlier set-up of ours left."""
    match answer:
        case (
            Found(chain=(first, *_))
            | NoData(chain=(first, *_))
            | NoName(chain=(first, *_))
        ):
            return first.is_below(operator.domain) or first in _chain(wildcard)
        case NoName():
            return True
        case NoData():
            return isinstance(wildcard, NoData)
        case Found():
            ours = f".n.{operator.domain}"
            return (
                isinstance(wildcard, Found) and answer.records == wildcard.records
            ) or all(str(one).endswith(ours) for one in answer.records)
        case Unanswered():
            return False


def _chain(answer: Answer) -> tuple[DnsName, ...]:
    return () if isinstance(answer, Unanswered) else answer.chain


def _what(answer: Answer) -> str:
    if chain := _chain(answer):
        return f"CNAME {chain[0]}."
    return printable(shown(answer)) or "records of other types, or names below it"


def _above(name: DnsName) -> DnsName:
    return DnsName(name.partition(".")[2])


# ---- the set-up that fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """How to set a domain up: what `domain add` takes, and the reasons, in sentences."""

    mode: Mode
    zone: Domain | None
    bounce_label: str
    selectors: tuple[DnsName, ...]
    because: tuple[str, ...]


def advise(found: Survey, *, serves_zones: bool, wanted: Mode | None = None) -> Advice:
    """Return the best set-up for what was found. `serves_zones`: the operator has name
    servers for delegated zones; `wanted` None: the mode is ours to choose.

    Raises FormatError where the domain is in no zone, or none of our labels is free.
    """
    if found.zone is None:
        raise FormatError(
            f"{found.name} is in no zone that DNS knows: it is not registered, has"
            " expired, or its name servers or ours ([dns] resolvers) are silent"
        )
    zone = free_zone(found)
    mode, because = _mode(found, serves_zones and zone is not None, wanted)
    if mode is Mode.ZONE and zone is None:
        raise FormatError(
            f"none of {_list(ZONE_LABELS)} is free below {found.name}: choose a name"
            " with `domain add --mode zone --zone`"
        )
    bounce = free_bounce_label(found, mode)
    selectors = free_selectors(found)
    return Advice(
        mode=mode,
        zone=zone if mode is Mode.ZONE else None,
        bounce_label=bounce.labels[0],
        selectors=tuple(map(DnsName, selectors.labels)),
        because=(*because, *bounce.notes, *selectors.notes, *_policy_notes(found)),
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """Labels that are free, and what was stepped over for them, in sentences."""

    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def free_zone(found: Survey) -> Domain | None:
    """Return a name below the domain that can be delegated; None where none is free."""
    for label in ZONE_LABELS:
        name = Domain(f"{label}.{found.name}")
        if found.is_free(name):
            return name
    return None


def free_bounce_label(found: Survey, mode: Mode) -> Chosen:
    """Return the label of the bounce host; raise FormatError where none is free."""
    if mode is not Mode.CNAME:  # in a zone of ours, or not asked for
        return Chosen(BOUNCE_LABELS[:1])
    return _free(found, BOUNCE_LABELS, found.name, count=1, option="--bounce-label")


def free_selectors(found: Survey) -> Chosen:
    """Return three selectors; raise FormatError where fewer are free."""
    below = f"_domainkey.{found.name}"
    count = _SELECTORS_NEEDED
    return _free(found, SELECTORS, below, count=count, option="--selector")


def _free(
    found: Survey, labels: tuple[str, ...], below: str, *, count: int, option: str
) -> Chosen:
    free: list[str] = []
    notes: list[str] = []
    for label in labels:
        name = DnsName(f"{label}.{below}")
        if found.is_free(name):
            free.append(label)
        else:
            why = found.taken.get(name, "DNS gave no answer about it")
            notes.append(f"{name} is not free ({why})")
        if len(free) == count:
            return Chosen(tuple(free), tuple(notes))
    raise FormatError(
        f"only {len(free)} of {_list(labels)} are free below {below}, and {count} are"
        f" needed: choose with `domain add {option}`"
    )


def _mode(
    found: Survey, may_delegate: bool, wanted: Mode | None
) -> tuple[Mode, tuple[str, ...]]:
    if wanted is not None:
        return wanted, (f"mode {wanted}, as you say",)
    if not may_delegate:
        return Mode.CNAME, (
            "mode cname: a few CNAMEs once; keys, hosts and addresses change behind them",
        )
    if found.dmarc.dkim is Alignment.STRICT:
        return Mode.CNAME, (
            f"mode cname: the DMARC record of {found.name} asks for strict DKIM"
            " alignment (adkim=s), so mail is signed as the domain itself; a delegation"
            " would need the same CNAMEs beside it",
        )
    return Mode.ZONE, (
        "mode zone: one delegation, and all further records are ours to keep right",
    )


def _policy_notes(found: Survey) -> Iterator[str]:
    if found.has_wildcard:
        yield (
            f"a wildcard answers for names below {found.name}: where a record of ours is"
            " lacking, what it says is found instead"
        )
    if found.dmarc.has_record and found.dmarc.policy != "none":
        yield (
            f"its DMARC policy is {found.dmarc.policy}: unaligned mail would be lost,"
            " so none leaves before the records are good"
        )


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)
