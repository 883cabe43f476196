"""The checks of a preflight that are about hosts: MX, reverse DNS, EHLO, SPF at the root, TLS.

Pure, as `checks.py`.
"""

from collections.abc import Iterator

from soboo_mta.identity.preflight.values import (
    ASK_AGAIN,
    Check,
    Code,
    MailHosts,
    Observed,
    Result,
)
from soboo_mta.ports import IpAddress, TlsPolicy


def mail_hosts(seen: Observed) -> Iterator[Check]:
    """One check for each domain that answers and bounces go to."""
    for one in seen.mail_hosts:
        yield _mail_hosts(one)


def _mail_hosts(one: MailHosts) -> Check:
    if one.hosts is None:
        return Check(
            code=Code.MX,
            result=Result.UNKNOWN,
            sentence=f"MX of {one.domain}: DNS gave no answer",
            mend=ASK_AGAIN,
        )
    if "" in one.hosts:  # RFC 7505 §4.2: such mail may be refused outright
        return Check(
            code=Code.MX,
            result=Result.WARN,
            sentence=f"{one.domain} has a null MX: it takes no mail, and many receivers"
            " refuse what comes from such a domain",
            mend=f"publish an MX for {one.domain} that takes replies",
        )
    if one.hosts:
        return Check(
            code=Code.MX,
            result=Result.PASS,
            sentence=f"{one.domain} takes mail at {', '.join(one.hosts)}",
        )
    if one.has_address:
        return Check(
            code=Code.MX,
            result=Result.PASS,
            sentence=f"{one.domain} takes mail at its own address, without an MX",
        )
    return Check(
        code=Code.MX,
        result=Result.WARN,
        sentence=f"{one.domain} takes no mail: neither MX nor address",
        mend=f"publish an MX for {one.domain}",
    )


def reverse(seen: Observed) -> Check:
    """FCrDNS: the address has a name, and the name has that address (RFC 8601 §3)."""
    address, names = seen.source.public_address, seen.reverse.names
    if names is None or (names and all(addresses is None for _, addresses in names)):
        return Check(
            code=Code.FCRDNS,
            result=Result.UNKNOWN,
            sentence=f"reverse DNS of {address}: no answer",
            mend=ASK_AGAIN,
        )
    confirmed = [name for name, found in names if found and address in found]
    mend = (
        f"whoever gives you {address} sets its PTR to {seen.source.ehlo_name}, which has"
        " that address"
    )
    if not names:
        return _lacking(Code.FCRDNS, f"{address} has no PTR record", mend)
    if not confirmed:
        listed = ", ".join(name for name, _ in names)
        return _lacking(
            Code.FCRDNS, f"{address} is called {listed}, which leads elsewhere", mend
        )
    if _looks_made_up(confirmed[0], address):
        return _lacking(
            Code.FCRDNS,
            f"{confirmed[0]} spells the address {address}: receivers take such names for"
            " those of homes",
            mend,
        )
    return Check(
        code=Code.FCRDNS,
        result=Result.PASS,
        sentence=f"{address} is {confirmed[0]}, and that is {address}",
    )


def _looks_made_up(name: str, address: IpAddress) -> bool:
    """Whether all four octets of an IPv4 address stand in its name, in either order."""
    if address.version != 4:
        return False
    octets = str(address).split(".")
    host = name.replace("-", ".").split(".")
    numbers = [label.lstrip("0") or "0" for label in host if label.isdigit()]
    return numbers[:4] in (octets, octets[::-1])


def ehlo(seen: Observed) -> Check:
    """The EHLO name has the source's address (RFC 5321 §4.1.4), and SPF of its own for
    the null reverse-path (RFC 7208 §2.4)."""
    source, addresses = seen.source, seen.ehlo_addresses
    if addresses is None:
        return Check(
            code=Code.EHLO,
            result=Result.UNKNOWN,
            sentence=f"{source.ehlo_name}: DNS gave no answer",
            mend=ASK_AGAIN,
        )
    if source.public_address not in addresses:
        listed = ", ".join(map(str, addresses)) or "nowhere"
        return _lacking(
            Code.EHLO,
            f"we call ourselves {source.ehlo_name}, which leads to {listed} and not to"
            f" {source.public_address}",
            "publish what `soboo-mta domain records --operator` shows",
        )
    sentence = f"{source.ehlo_name} leads to {source.public_address}"
    if seen.ehlo_spf.is_unknown:
        return Check(
            code=Code.EHLO,
            result=Result.UNKNOWN,
            sentence=f"{sentence}; its SPF got no answer",
            mend=ASK_AGAIN,
        )
    if seen.ehlo_spf.result != "pass":
        return _lacking(
            Code.EHLO,
            f"{sentence}; its SPF, which is asked for a null reverse-path, is"
            f" {seen.ehlo_spf.result}",
            "publish what `soboo-mta domain records --operator` shows",
        )
    return Check(
        code=Code.EHLO, result=Result.PASS, sentence=f"{sentence}, its SPF is pass"
    )


def root(seen: Observed) -> Check:
    """The From domain's own SPF record: no part of our way, unless it is in its way."""
    name, found = seen.settings.name, seen.root
    if found.is_unanswered:
        return Check(
            code=Code.SPFROOT,
            result=Result.UNKNOWN,
            sentence=f"SPF of {name}: DNS gave no answer to some of it",
            mend=ASK_AGAIN,
        )
    if not found.records:
        return Check(
            code=Code.SPFROOT,
            result=Result.PASS,
            sentence=f"{name} has no SPF record of its own, and our mail needs none",
        )
    wrong = [*found.faults, *found.remarks]
    if wrong:
        return _lacking(
            Code.SPFROOT,
            wrong[0],
            f"see `soboo-mta domain spf {name}`: its other mail suffers",
        )
    return Check(
        code=Code.SPFROOT,
        result=Result.PASS,
        sentence=f"the SPF record of {name} itself is sound",
    )


def tls(seen: Observed) -> Check:
    """Whether we encrypt where the other side can."""
    if seen.tls is TlsPolicy.NONE:
        return _lacking(
            Code.TLS,
            "[delivery] tls is none: mail would leave in clear",
            'set [delivery] tls = "opportunistic"',
        )
    return Check(
        code=Code.TLS,
        result=Result.PASS,
        sentence=f"mail leaves by TLS ({seen.tls}, [delivery] tls)",
    )


def _lacking(code: Code, sentence: str, mend: str) -> Check:
    return Check(code=code, result=Result.WARN, sentence=sentence, mend=mend)
