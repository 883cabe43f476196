"""Other people's messages, whole and broken by chance: each has its verdicts, none an
exception, and the field about it stays one field.
"""

import random
from ipaddress import ip_address
from pathlib import Path

from soboo_mta.formats.authentication import Result
from soboo_mta.formats.keys import dkim_txt
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.mail.address import NULL_REVERSE_PATH
from soboo_mta.mail.domain import Domain
from soboo_mta.ports import Answer, Found, RecordType
from soboo_mta.returns.authentication import AuthenticationOptions, Came, authenticated
from tests.fakes.dns import FakeResolver
from tests.unit.formats.dkimpy_reference import RSA

_US = Domain("mx.esp.example")
_CAME = Came(
    client=ip_address("192.0.2.1"),
    helo="mx.provider.example",
    reverse_path=NULL_REVERSE_PATH,
)
_SUFFIXES = SuffixList()
_LARGEST = 300_000  # octets: the time goes into many, not into large ones
_BROKEN = 10  # of each


def _messages(corpora: Path) -> list[bytes]:
    folders = ("dkim", "mime", "dsn-arf", "dmarc-reports", "tlsrpt")
    files = [
        path
        for folder in folders
        for path in sorted((corpora / folder).rglob("*"))
        if path.suffix in {".eml", ".msg", ".txt", ".message", ".mbox", ".error"}
    ]
    contents = [path.read_bytes() for path in files]
    return [one for one in contents if len(one) <= _LARGEST]


class _Keyed(FakeResolver):
    """Has a key for every signature, which is not the one that made it."""

    async def lookup(
        self, name: str, kind: RecordType, *, fresh: bool = False
    ) -> Answer:
        if "._domainkey." in name:
            return Found(records=(dkim_txt(RSA.p, RSA.algorithm),), chain=(), ttl=60)
        return await super().lookup(name, kind, fresh=fresh)


def _broken(content: bytes, chance: random.Random) -> bytes:
    """Octets cut out, put in, doubled or changed, mostly in the header."""
    end = max(content.find(b"\n\n"), content.find(b"\r\n\r\n"), 1)
    octets = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(end if chance.random() < 0.8 else max(len(octets), 1))
        size = chance.choice((1, 1, 2, 40, 900))
        match chance.randrange(4):
            case 0:
                del octets[at : at + size]
            case 1:
                octets[at:at] = chance.randbytes(size)
            case 2:
                octets[at:at] = octets[at : at + size]
            case _:
                octets[at : at + 1] = chance.choice(
                    (b"\r", b"\n", b";", b"=", b'"', b":")
                )
    return bytes(octets)


async def test_each_message_has_verdicts_and_one_field(
    corpora: Path, figures: list[str]
) -> None:
    chance = random.Random(1)
    resolver = _Keyed()
    resolver.add("mx.provider.example", "TXT", "v=spf1 ip4:192.0.2.1 -all")
    messages = _messages(corpora)
    assert len(messages) >= 300
    signed = 0
    for content in messages:
        for octets in (content, *(_broken(content, chance) for _ in range(_BROKEN))):
            found = await authenticated(
                octets,
                _CAME,
                resolver,
                suffixes=_SUFFIXES,
                options=AuthenticationOptions(),
            )
            field = found.header(_US)
            assert field.isascii()
            assert field.count("\n") == field.count("\r") == field.count("\r\n ") + 1
            assert found.spf.result is Result.PASS
            assert Result.PASS not in {one.result for one in found.dkim}
            signed += bool(found.dkim)
    figures.append(
        f"authentication: {len(messages) * (_BROKEN + 1)} messages, {signed} with signatures"
    )
