"""Whose name it is that a record leads to instead of ours. Pure."""

from dataclasses import dataclass

from soboo_mta.identity.fault import Fault
from soboo_mta.mail.domain import DnsName, Domain

_NEAR = 3  # characters typed wrongly, missing or too many; a token is random over more
_SHORT = 8  # characters: two tokens as short may be near each other by chance
_KINDS = frozenset("bkniln")  # the labels under which tokens stand (identity.records)
_PROVIDERS = {
    "amazonses.com": "Amazon SES",
    "brevo.com": "Brevo",
    "customeriomail.com": "Customer.io",
    "exacttarget.com": "Salesforce Marketing Cloud",
    "hubspotemail.net": "HubSpot",
    "mailchimp.com": "Mailchimp",
    "mailgun.com": "Mailgun",
    "mailgun.net": "Mailgun",
    "mailgun.org": "Mailgun",
    "mandrillapp.com": "Mailchimp",
    "mcsv.net": "Mailchimp",
    "mtasv.net": "Postmark",
    "onmicrosoft.com": "Microsoft 365",
    "resend-dns.com": "Resend",
    "sendgrid.net": "SendGrid",
    "sendinblue.com": "Brevo",
    "sparkpost.com": "SparkPost",
    "sparkpostmail.com": "SparkPost",
    "spgo.io": "SparkPost",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OurNames:
    """The operator's domain, the token of this domain in it, and what each record of this
    domain leads to (owner and target)."""

    operator: Domain
    token: str
    targets: tuple[tuple[DnsName, DnsName], ...] = ()


@dataclass(frozen=True, slots=True)
class Stray:
    """What a wrong target is, and in words that follow "leads to X"."""

    fault: Fault
    words: str


def stray(found: DnsName, wanted: DnsName, ours: OurNames) -> Stray:
    """Say whose `found` is, which stands where `wanted` should."""
    if found.startswith(f"{wanted}."):
        return Stray(
            Fault.RELATIVE_TARGET,
            f"which is {wanted} with the zone's name appended, since it had no dot at"
            " its end",
        )
    owner = next((one for one, target in ours.targets if target == found), None)
    if owner is not None:
        return Stray(Fault.SWAPPED, f"which is the target of {owner}")
    token = _token_in(found, ours.operator)
    if token and token != ours.token and not _is_typo(token, ours.token):
        return Stray(Fault.OTHER_ACCOUNT, "which is made for another account")
    if token or wanted.endswith(f".{found}") or _distance(found, wanted) <= _NEAR:
        return Stray(Fault.MISTYPED_TARGET, f"which is {wanted} typed wrongly")
    provider = provider_of(found)
    if provider:
        return Stray(Fault.OTHER_PROVIDER, f"which is {provider}'s, not {wanted}")
    return Stray(Fault.WRONG_TARGET, f"not to {wanted}")


def provider_of(name: DnsName) -> str:
    """Return the e-mail service whose name it is, "" for none that is known."""
    labels = name.labels
    for cut in range(len(labels) - 1):
        known = _PROVIDERS.get(".".join(labels[cut:]))
        if known:
            return known
    return ""


def _token_in(name: DnsName, operator: Domain) -> str:
    """The label at the place of the token in one of the operator's names, else ""."""
    if not name.is_below(operator):
        return ""
    labels = name.removesuffix(f".{operator}").split(".")
    return labels[-2] if len(labels) > 1 and labels[-1] in _KINDS else ""


def _is_typo(token: str, ours: str) -> bool:
    return len(ours) > _SHORT and _distance(token, ours) <= _NEAR


def _distance(one: str, other: str) -> int:
    """Characters to change, add or take away from one to the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            cost = min(row[j] + 1, row[j - 1] + 1, above + (left != right))
            above, row[j] = row[j], cost
    return row[-1]
