"""DMARC identifier alignment under both discovery algorithms, and the predicted verdict.

Receivers of today find the Organizational Domain by the tree walk of RFC 9989 §4.10 or by
the public suffix list of its predecessor; nobody knows which one a receiver uses. So a
message is called aligned only when it is under each of them. Pure; no look-ups.
"""

from soboo_mta.identity.state import Alignment, DmarcView, Verdict
from soboo_mta.mail.domain import Domain


def verdict(
    author: Domain,
    *,
    walk: DmarcView,
    suffix_list: DmarcView,
    spf_domain: Domain | None,
    dkim_domains: tuple[Domain, ...],
) -> Verdict:
    """Return what a receiver will conclude about mail with the From domain `author`.

    `spf_domain` is the reverse-path domain whose SPF result is pass, None without one;
    `dkim_domains` are the d= of the signatures that verify. SPF may carry the one
    algorithm and DKIM the other. Where the walk finds no record DMARC does not apply, and
    a signature with d= identical to `author` is asked for instead.
    """
    if not all(
        aligned_by(author, view, spf_domain=spf_domain, dkim_domains=dkim_domains)
        for view in (walk, suffix_list)
    ):
        return Verdict.FAIL
    if walk.has_record:
        return Verdict.PASS
    return Verdict.NOT_APPLICABLE if author in dkim_domains else Verdict.FAIL


def aligned_by(
    author: Domain,
    view: DmarcView,
    *,
    spf_domain: Domain | None,
    dkim_domains: tuple[Domain, ...],
) -> tuple[str, ...]:
    """Return what aligns under one algorithm, in words: "SPF of a.example", "DKIM
    d=b.example"; the arguments as in `verdict`."""
    found = []
    if spf_domain is not None and aligns(author, spf_domain, view, view.spf):
        found.append(f"SPF of {spf_domain}")
    found += [
        f"DKIM d={domain}"
        for domain in dict.fromkeys(dkim_domains)
        if aligns(author, domain, view, view.dkim)
    ]
    return tuple(found)


def aligns(author: Domain, other: Domain, view: DmarcView, how: Alignment) -> bool:
    """Whether `other` is aligned with `author` (RFC 9989 §4.4).

    A name whose Organizational Domain the view does not know aligns by identity alone.
    """
    if author == other:
        return True
    if how is Alignment.STRICT:
        return False
    organizational = dict(view.organizational)
    ours = organizational.get(author)
    return ours is not None and ours == organizational.get(other)
