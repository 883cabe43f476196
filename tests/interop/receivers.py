"""A receiver's own tools on one message, all by one resolver, and whether they agree with
what the relay's `trace` says of it.

Mail::DKIM, dkimpy and OpenDKIM verify signatures; Mail::SPF the reverse-path and the EHLO
name; OpenDMARC and Mail::DMARC conclude from that.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dkim
import dns.resolver

from soboo_mta.lab.record import MessageRecord
from tests.interop.running import run
from tests.interop.verifiers import Opinion, judge, suspect

_HERE = Path(__file__).parent
_OPENDMARC = """\
AuthservID receiver.example
TrustedAuthservIDs receiver.example
PublicSuffixList /usr/share/publicsuffix/public_suffix_list.dat
Syslog false
SPFIgnoreResults true
SPFSelfValidate true
"""
_DMARC = re.compile(r"dmarc=(\w+) \(p=(\w+) dis=\w+\) header\.from=([^\s']+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Unbound: at `address` on port 53, and on 127.0.0.1 at `port`."""

    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """What the tools say of one message."""

    record: MessageRecord
    opinion: Opinion
    helo_spf: str
    dkimpy: bool  # the first signature verifies
    opendmarc: str  # pass, fail, none
    opendmarc_policy: str
    mail_dmarc: str  # pass, fail, none
    mail_dmarc_aligned: tuple[str, ...]  # of spf, dkim

    @property
    def signers(self) -> set[str]:
        """The d= of the signatures that Mail::DKIM finds good."""
        return {one.d for one in self.opinion.mail_dkim if one.result == "pass"}

    def agrees_with(self, plan: dict[str, Any]) -> None:
        """Assert that every tool concludes what the plan of a `trace` foretold."""
        assert plan["verdict"] == self.opendmarc == self.mail_dmarc == "pass"
        signed = {one["d"] for one in plan["signatures"]}
        assert self.signers == signed
        assert {
            one.d for one in self.opinion.opendkim if one.result == "pass"
        } == signed
        assert self.dkimpy is bool(signed)
        bounces = plan["bounce_domain"] or self.opinion.author_domain
        assert self.opinion.spf_domain == bounces
        assert self.record.helo == plan["ehlo"]
        assert self.helo_spf == "pass"
        by_spf = f"SPF of {bounces}" in plan["aligned"]["suffix_list"]
        assert by_spf is self.opinion.by_spf is ("spf" in self.mail_dmarc_aligned)
        by_dkim = any("DKIM" in one for one in plan["aligned"]["suffix_list"])
        assert (
            by_dkim is self.opinion.by_mail_dkim is ("dkim" in self.mail_dmarc_aligned)
        )
        assert plan["policy"] == self.opendmarc_policy


async def receive(record: MessageRecord, resolver: Resolver, home: Path) -> Reception:
    """Ask all the tools about what a sink received."""
    kept = suspect(record)
    # The null reverse-path is how Mail::SPF is asked for the EHLO name alone.
    opinion, helo = await judge(
        [kept, replace(kept, mail_from="")], dns_port=resolver.port
    )
    policy, concluded = await _opendmarc(record, opinion, resolver, home)
    perl = await _mail_dmarc(opinion, resolver)
    return Reception(
        record=record,
        opinion=opinion,
        helo_spf=helo.spf,
        dkimpy=_by_dkimpy(octets_of(record), resolver),
        opendmarc=concluded,
        opendmarc_policy=policy,
        mail_dmarc=perl["result"],
        mail_dmarc_aligned=tuple(one for one in ("spf", "dkim") if perl[one]),
    )


def octets_of(record: MessageRecord) -> bytes:
    """What the sink was given."""
    assert record.raw is not None
    return record.raw.read_bytes()


def _by_dkimpy(octets: bytes, resolver: Resolver) -> bool:
    asked = dns.resolver.Resolver(configure=False)
    asked.nameservers = [resolver.address]

    def text(name: bytes, timeout: int = 5) -> bytes | None:
        found = asked.resolve(name.decode(), "TXT", raise_on_no_answer=False)
        return b"".join(found[0].strings) if found.rrset else None

    return bool(dkim.verify(octets, dnsfunc=text))


async def _opendmarc(
    record: MessageRecord, opinion: Opinion, resolver: Resolver, home: Path
) -> tuple[str, str]:
    """The policy that OpenDMARC finds, and its conclusion. It evaluates SPF itself;
    results of DKIM come to it as in a receiver, in the field that OpenDKIM adds."""
    results = [
        f"dkim={one.result} header.d={one.d} header.a={one.a}"
        for one in opinion.opendkim
    ] or ["dkim=none"]
    seen = f"Authentication-Results: receiver.example; {'; '.join(results)}\r\n"
    message, config, servers = (home / name for name in ("judged", "od", "servers"))
    message.write_bytes(seen.encode() + octets_of(record))
    config.write_text(_OPENDMARC)
    # Its library asks whom resolv.conf names, on port 53: in this mount namespace, ours.
    servers.write_text(f"nameserver {resolver.address}\n")
    script = (
        f"mount --bind {servers} /etc/resolv.conf"
        f" && exec opendmarc -c {config} -vv -t {message}"
    )
    client = {
        "CLIENTIP": record.peer,
        "CLIENTHOST": record.helo,
        "HELOHOST": record.helo,
        "ENVFROM": record.mail_from,
    }
    ended = await run(
        *("unshare", "-m", "sh", "-c", script),
        env={f"OPENDMARC_TEST_{name}": value for name, value in client.items()},
    )
    found = _DMARC.search(ended.text)
    assert found, ended.text
    assert found[3] == opinion.author_domain
    return found[2], found[1]


async def _mail_dmarc(opinion: Opinion, resolver: Resolver) -> dict[str, Any]:
    passing = [one.d for one in opinion.mail_dkim if one.result == "pass"]
    asked = {
        "from": opinion.author_domain,
        "spf": opinion.spf_domain if opinion.spf == "pass" else "",
        "dkim": passing[0] if passing else "",
    }
    words = ("perl", _HERE / "dmarc.pl", str(resolver.port))
    ended = await run(*words, stdin=json.dumps(asked) + "\n")
    assert ended.code == 0, ended.text
    answer: dict[str, Any] = json.loads(ended.out)
    return answer
