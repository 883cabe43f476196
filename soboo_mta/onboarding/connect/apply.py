"""The signed address at which a customer applies a template (the synchronous flow). Pure.

Signed is the query exactly as it is sent, less `sig` and `key`: RSA with SHA-256
(RFC 8017 §8.2), of the octets of the encoded text. The sender's users get no redirection
back: what counts is what DNS shows afterwards.
"""

import base64
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import quote, urlencode

from soboo_mta.identity.state import DomainSettings, Operator
from soboo_mta.mail.domain import Domain
from soboo_mta.onboarding.connect.keys import ConnectKey
from soboo_mta.onboarding.connect.template import (
    VARIABLE,
    labels_of,
    provider_id,
    service_id,
)


def template_path(operator: Operator, service: str) -> str:
    """Return where a template stands below a DNS host's own addresses."""
    provider = quote(provider_id(operator), safe="")
    return (
        f"/v2/domainTemplates/providers/{provider}/services/{quote(service, safe='')}"
    )


def apply_url(
    sync_url: str,
    settings: DomainSettings,
    operator: Operator,
    *,
    apex: Domain,
    groups: Sequence[str],
    key: ConnectKey,
) -> str:
    """Return the address to open; `sync_url` is the DNS host's urlSyncUX, `apex` the zone
    that holds the domain, `groups` what is applied of the template."""
    path = template_path(operator, service_id(labels_of(settings)))
    query = apply_query(settings, apex=apex, groups=groups)
    sig = base64.b64encode(key.signing.sign(sha256(query.encode()).digest()))
    signed = urlencode({"sig": sig, "key": key.label}, quote_via=quote, safe="")
    return f"{sync_url.rstrip('/')}{path}/apply?{query}&{signed}"


def apply_query(
    settings: DomainSettings, *, apex: Domain, groups: Sequence[str]
) -> str:
    """Return the query that is signed, encoded."""
    values = {"domain": str(apex)}
    if settings.name != apex:
        values["host"] = settings.name.removesuffix(f".{apex}")
    values |= {VARIABLE: settings.token, "groupId": ",".join(groups)}
    return urlencode(values, quote_via=quote, safe="")
