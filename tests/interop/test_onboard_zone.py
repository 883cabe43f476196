"""Mode zone from nothing to proven mail: a delegation, and nothing after it.

The operator's zones are on Knot by signed updates, with DNSSEC; the customer's on BIND.
"""

from pathlib import Path

import dns.dnssec
import dns.flags
import dns.name
import dns.rdata

from tests.interop.internet import internet, key_of, operator_file, tsig_settings
from tests.interop.name_servers import Server, ZoneFile, ask, bind, knot, zone_file
from tests.interop.onboarding import CUSTOMER, OPERATOR, Internet, signs_as

_NET = "127.0.81"
_ZONE = f"em.{CUSTOMER}"
_OWN = ("@ A 192.0.2.80", '_dmarc TXT "v=DMARC1; p=reject"')
_SIGNED = "dnssec-policy default; inline-signing yes;"
_MAKE = """\
#!/bin/sh
set -e
knotc="knotc -s {home}/knot.sock"
$knotc conf-begin
case $1 in
create)
    cp "$3" "{home}/$2.zone"
    chmod 644 "{home}/$2.zone"
    $knotc conf-set "zone[$2]"
    ;;
withdraw) $knotc conf-unset "zone[$2]" ;;
esac
$knotc conf-commit
"""


async def test_a_customer_in_mode_zone_delegates_once_and_keys_move_without_it(
    tmp_path: Path,
) -> None:
    operator = operator_file(tmp_path, _NET)
    zone = zone_file(tmp_path / "customer", CUSTOMER, f"{_NET}.2")
    zone.write(_OWN)
    async with (
        knot([operator], f"{_NET}.3", f"{_NET}.4", signed=True),
        bind([zone], f"{_NET}.2", options=_SIGNED) as theirs,
        internet(tmp_path, net=_NET, publish=_publish(tmp_path)) as place,
    ):
        await place.delegate(OPERATOR, f"{_NET}.3")
        await place.delegate(CUSTOMER, f"{_NET}.2", await _signer(f"{_NET}.2"))
        await place.relay.start_relay()

        words = ("domain", "add", CUSTOMER, "--tenant", "acme", "--mode", "zone")
        await place.relay.command(*words)
        records = await place.records(CUSTOMER)
        delegation = [one for one in records if " NS " in one]
        aliases = [one for one in records if " CNAME " in one]
        assert [*delegation, *aliases] == records

        await theirs.publish(zone, [*_OWN, *delegation])
        await place.until_good(CUSTOMER)
        first, plan = await place.proven(CUSTOMER, "signed as the zone")
        assert first.opinion.agrees_on(CUSTOMER)
        assert first.signers == {_ZONE}
        assert plan["bounce_domain"] == f"bounce.{_ZONE}"

        since = place.told()
        signers = await _signers_of_the_zone(place)
        await theirs.publish(zone, [*_OWN, *records, *signers])
        await place.until_told("is usable as the domain", since=since)
        await place.proven(
            CUSTOMER, "signed as the customer", signs_as(CUSTOMER, "sb1")
        )
        await _until_validated(place, f"sb1._domainkey.{CUSTOMER}")

        before = zone.path.read_bytes()
        await _rotate(place)
        await place.proven(CUSTOMER, "with the next key", signs_as(CUSTOMER, "sb2"))
        await _until_validated(place, f"sb2._domainkey.{CUSTOMER}")
        await _until_validated(place, f"sb3._domainkey.{CUSTOMER}")  # the one after it
        assert zone.path.read_bytes() == before

        await _is_withdrawn(place, theirs, zone)


def _publish(directory: Path) -> str:
    script = directory / "soboo-zone"
    script.write_text(_MAKE.format(home=directory / "operator"))
    script.chmod(0o755)
    return (
        tsig_settings(directory, _NET)
        + f'create = ["{script}", "create", "{{zone}}", "{{file}}"]\n'
        + f'withdraw = ["{script}", "withdraw", "{{zone}}"]\n'
    )


async def _signer(address: str) -> str:
    """The customer's DS, as its registrar is given it."""
    key = dns.rdata.from_text("IN", "DNSKEY", await key_of(address, CUSTOMER))
    value = dns.dnssec.make_ds(dns.name.from_text(CUSTOMER), key, "SHA256")
    return f"{CUSTOMER}. DS {value}"


async def _signers_of_the_zone(place: Internet) -> list[str]:
    found = await place.relay.command("zone", "show", _ZONE, "--ds")
    return found.splitlines()


async def _until_validated(place: Internet, name: str) -> None:
    """Wait until the resolver vouches for the key at a name (RFC 4035 §3.2.3)."""

    async def is_validated() -> bool:
        answer = await ask(place.resolver.address, name, "TXT")
        return (
            answer is not None
            and "v=DKIM1" in answer.to_text()
            and bool(answer.flags & dns.flags.AD)
        )

    await place.until(f"{name} is validated", is_validated)


async def _rotate(place: Internet) -> None:
    since = place.told()
    await place.relay.command("key", "rotate", CUSTOMER)
    await place.until_told(f'"name": "sb3._domainkey.{_ZONE}"', since=since)


async def _is_withdrawn(place: Internet, theirs: Server, zone: ZoneFile) -> None:
    """The customer leaves: its zone goes from the server."""
    await place.relay.command("domain", "release", CUSTOMER, "--yes")
    await theirs.publish(zone, _OWN)

    async def is_gone() -> bool:
        answer = await ask(f"{_NET}.3", _ZONE, "SOA")
        return answer is not None and not answer.answer

    await place.until(f"{_ZONE} is withdrawn", is_gone)
