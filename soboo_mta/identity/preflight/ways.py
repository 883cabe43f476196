"""What a customer's own relay or mailbox would give: alignment foretold, and the trial.

Pure. What a foreign system does to a message is not seen in DNS: a key or an SPF record
that would serve it is all there is to go by, and the sentences say so.
"""

from soboo_mta.identity.alignment import aligned_by, verdict
from soboo_mta.identity.preflight.values import (
    ASK_AGAIN,
    Check,
    Code,
    DmarcSeen,
    Observed,
    Result,
    WaySeen,
)
from soboo_mta.identity.state import Mode, Verdict
from soboo_mta.mail.way_out import CustomerMailbox, MailboxProvider, WayOut
from soboo_mta.ports import Probed, ProbeStep


def alignment(seen: Observed, way: WaySeen) -> Check:
    """Foretell DMARC under both algorithms from what would sign and what SPF names."""
    if seen.dmarc is None:
        return Check(
            code=Code.ALIGN,
            result=Result.UNKNOWN,
            sentence="DMARC: DNS gave no answer",
            mend=ASK_AGAIN,
        )
    name = seen.settings.name
    judged = verdict(
        name,
        walk=seen.dmarc.walk,
        suffix_list=seen.dmarc.suffix_list,
        spf_domain=name if way.spf else None,
        dkim_domains=(name,) if way.ours or way.signs else (),
    )
    sentence = f"DMARC {str(judged).replace('_', ' ')}, as far as DNS shows: "
    sentence += _aligning(seen, seen.dmarc, way)
    if judged is not Verdict.FAIL:
        return Check(code=Code.ALIGN, result=Result.PASS, sentence=sentence)
    if way.is_silent:
        return Check(
            code=Code.ALIGN,
            result=Result.UNKNOWN,
            sentence=f"{sentence}; DNS gave no answer to some of it",
            mend=ASK_AGAIN,
        )
    return Check(
        code=Code.ALIGN,
        result=Result.WARN,
        sentence=sentence,
        mend=_MEND[seen.settings.mode],
        # Nothing shows in DNS of a relay that signs under a selector of its own.
        is_advice=way.signs is None,
    )


_MEND = {
    Mode.RELAY: "publish the three selectors, or have the relay sign with d= of the domain",
    Mode.MAILBOX: "have the provider sign with d= of the domain, and let SPF name it",
}


def _aligning(seen: Observed, dmarc: DmarcSeen, way: WaySeen) -> str:
    name = seen.settings.name
    whose = {
        "our signature": way.ours,
        "the provider's signature": bool(way.signs),
        "the provider in SPF": bool(way.spf),
    }
    found = [what for what, is_there in whose.items() if is_there]
    both = [
        aligned_by(
            name,
            view,
            spf_domain=name if way.spf else None,
            dkim_domains=(name,) if way.ours or way.signs else (),
        )
        for view in (dmarc.walk, dmarc.suffix_list)
    ]
    if not all(both):
        return "nothing of ours or of its provider's aligns with the domain"
    return f"{' and '.join(found)} would serve, by tree walk (RFC 9989) and public suffix list"


# ---- the trial

_STEPS = {
    ProbeStep.ADDRESS: "its name leads nowhere that mail may go to",
    ProbeStep.CONNECT: "it takes no connection",
    ProbeStep.TLS: "it has no good TLS",
    ProbeStep.EHLO: "it does not greet as a mail server",
    ProbeStep.AUTH_OFFERED: "it offers no login that we have",
    ProbeStep.AUTH: "it does not accept the login",
    ProbeStep.MAIL_FROM: "it does not take mail of this reverse-path",
}
_WAY_MENDS = {
    ProbeStep.ADDRESS: "give its public name: `soboo-mta domain set --relay-host`",
    ProbeStep.CONNECT: "look at the port, and at firewalls on the way: it sees our address",
    ProbeStep.TLS: (
        "it needs a certificate for its name by a known authority; look at --relay-tls too"
    ),
    ProbeStep.EHLO: "look at the port: it may be another kind of server",
    ProbeStep.AUTH_OFFERED: "let it offer AUTH PLAIN or LOGIN under TLS, to our address too",
    ProbeStep.AUTH: "give the right user and password: `soboo-mta domain set`",
    ProbeStep.MAIL_FROM: "let it take mail of the whole domain from this user",
}


def trial(way: WayOut, probed: Probed) -> Check:
    """What the trial of the server showed."""
    server = probed.hop or str(way.server)
    if probed.is_silent:
        return Check(
            code=Code.WAY,
            result=Result.UNKNOWN,
            sentence=f"{server} could not be tried: {probed.detail}",
            mend=ASK_AGAIN,
        )
    if probed.failed is not None:
        return Check(
            code=Code.WAY,
            result=Result.FIX,
            sentence=f"{server}: {_STEPS[probed.failed]}: {probed.detail}",
            mend=_WAY_MENDS[probed.failed],
        )
    login = f"logged in as {way.login}" if ProbeStep.AUTH in probed.done else "no login"
    if probed.detail:
        login = probed.detail
    offers = f"; it offers {', '.join(probed.offers)}" if probed.offers else ""
    return Check(
        code=Code.WAY,
        result=Result.WARN if probed.detail else Result.PASS,
        sentence=f"{server}: {probed.tls}, {login}{offers}; nothing was sent",
    )


def provider_of(way: WayOut) -> MailboxProvider:
    """Whose keys and SPF are known; OTHER for a relay."""
    return way.provider if isinstance(way, CustomerMailbox) else MailboxProvider.OTHER
