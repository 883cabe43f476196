"""The SPF record of any name as a tree: what each term costs a receiver (RFC 7208 §4.6.4).

Values alone; `walk` makes them. The totals are those of an evaluation for a client
that no term names: the dearest there is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import spftrace

MAX_LOOKUPS = spftrace.MAX_DNS_TERMS
MAX_VOIDS = spftrace.MAX_VOID_LOOKUPS


@dataclass(frozen=True, slots=True, kw_only=True)
class SpfTerm:
    """One term of a record. `lookups` is what it costs by itself, 0 or 1; `voids` those of
    its look-ups that found nothing; `below` the record it leads to; `is_reached` False:
    something before it matches every client."""

    text: str
    target: str = ""
    lookups: int = 0
    voids: int = 0
    fault: str = ""
    remark: str = ""  # what is unwise and no fault
    is_unanswered: bool = False
    is_reached: bool = True
    matches_all: bool = False
    below: "SpfNode | None" = None

    @property
    def total_lookups(self) -> int:
        """With all that is below."""
        return self.lookups + (self.below.lookups if self.below else 0)

    @property
    def total_voids(self) -> int:
        return self.voids + (self.below.total_voids if self.below else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpfNode:
    """The SPF record of one name; `records` are all that begin with v=spf1 there."""

    name: str
    records: tuple[str, ...] = ()
    terms: tuple[SpfTerm, ...] = ()
    fault: str = ""
    voids: int = 0  # of the look-up of the record itself
    is_unanswered: bool = False

    @property
    def lookups(self) -> int:
        """Terms that make a receiver ask DNS, here and below."""
        return sum(term.total_lookups for term in self.terms)

    @property
    def total_voids(self) -> int:
        return self.voids + sum(term.total_voids for term in self.terms)

    @property
    def passes_all(self) -> bool:
        """Whether it says pass for every client: `+all`, or what amounts to it."""
        for term in self.terms:
            if not term.is_reached:
                continue
            if term.matches_all:
                return term.text[0] not in "-~?"
            if term.text.lower().startswith("redirect="):
                return term.below is not None and term.below.passes_all
        return False

    @property
    def has_fault(self) -> bool:
        """Whether a term or record in it is an error by itself, whatever it costs."""
        return any(True for _ in _faults(self))

    def nodes(self) -> Iterator["SpfNode"]:
        """Itself and every record below it."""
        yield self
        for term in self.terms:
            if term.below:
                yield from term.below.nodes()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpfBudget:
    """The trees that an IPv4 and an IPv6 client cause: `a` and `mx` ask for other types."""

    v4: SpfNode
    v6: SpfNode

    @property
    def lookups(self) -> int:
        return max(self.v4.lookups, self.v6.lookups)

    @property
    def voids(self) -> int:
        return max(self.v4.total_voids, self.v6.total_voids)

    @property
    def is_unanswered(self) -> bool:
        """Whether some of it got no answer, so that the totals may be higher."""
        return any(
            node.is_unanswered or any(term.is_unanswered for term in node.terms)
            for tree in (self.v4, self.v6)
            for node in tree.nodes()
        )

    @property
    def faults(self) -> tuple[str, ...]:
        """What makes the record an error to receivers, in sentences."""
        found = [fault for tree in (self.v4, self.v6) for fault in _faults(tree)]
        if self.lookups > MAX_LOOKUPS:
            found.append(
                f"{self.lookups} look-ups where receivers stop at {MAX_LOOKUPS}: drop"
                " includes that nobody sends by, or list addresses (RFC 7208 §4.6.4)"
            )
        for kind, tree in (("IPv4", self.v4), ("IPv6", self.v6)):
            if tree.total_voids > MAX_VOIDS:
                found.append(
                    f"{tree.total_voids} look-ups of {kind} clients find nothing where"
                    f" receivers stop at {MAX_VOIDS}: drop those terms (RFC 7208 §4.6.4)"
                )
        return tuple(dict.fromkeys(found))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What receivers take and an owner should not want, in sentences."""
        found = [
            f"{term.text} in the record of {node.name}: {term.remark}"
            for tree in (self.v4, self.v6)
            for node in tree.nodes()
            for term in node.terms
            if term.remark
        ]
        if self.v4.passes_all or self.v6.passes_all:
            found.append("it passes for every address: end it in ~all or -all")
        return tuple(dict.fromkeys(found))


def _faults(node: SpfNode) -> Iterator[str]:
    if node.fault:
        yield node.fault
    for term in node.terms:
        if term.fault:
            yield f"{term.text} in the record of {node.name}: {term.fault}"
        elif term.below:
            yield from _faults(term.below)
