"""Zone files of the small internet that the demonstration and the story tests live in.

Owns the base records of customers' and destinations' zones; what the relay asks for comes
from `soboo-mta domain records`, never from here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_HEAD = """\
$ORIGIN {origin}.
$TTL 2
@ SOA ns1.lab.test. hostmaster.lab.test. 1 2 2 2 2
@ NS ns1.lab.test.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """Writes zone files into the directory that the lab's name server watches."""

    directory: Path

    def write(self, origin: str, lines: Iterable[str]) -> None:
        """Replace the zone `origin`; the move is atomic, so no half file is ever read."""
        target = self.directory / f"{origin}.zone"
        fresh = target.with_suffix(".new")
        fresh.write_text(_HEAD.format(origin=origin) + "\n".join(lines) + "\n")
        fresh.replace(target)

    def write_lab(self) -> None:
        """The zone that the name server itself lives in."""
        self.write("lab.test", ["ns1 A 127.0.0.1"])

    def write_destination(self, domain: str, address: str) -> None:
        """A domain that receives mail at one sink address."""
        self.write(domain, [f"@ MX 10 mx.{domain}.", f"mx A {address}"])

    def write_customer(self, domain: str, published: Iterable[str]) -> None:
        """A customer's zone: what the relay asked for, and a strict DMARC policy of the
        customer's own in place of the one recommended."""
        own = ["@ A 127.0.0.9", '_dmarc TXT "v=DMARC1; p=reject"']
        self.write(domain, [*own, *without(published, "_dmarc.")])


def without(lines: Iterable[str], *labels: str) -> list[str]:
    """The records less those whose owner begins with one of `labels`: a broken zone."""
    return [line for line in lines if not line.startswith(labels)]
