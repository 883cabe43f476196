"""The sections of the settings file: one model each, its keys and defaults.

What a key means, its unit and an example stand in `config/soboo.toml`; a test keeps
that file and these models equal.
"""

from soboo_mta.settings.sections.doors import (
    Complaints,
    Http,
    HttpListener,
    Listener,
    ListenerTls,
    ReturnListener,
    Returns,
    Submission,
)
from soboo_mta.settings.sections.identity import (
    Dns,
    Onboarding,
    OperatorSection,
    PoolSection,
    Publish,
    Signing,
    SourceSection,
)
from soboo_mta.settings.sections.leaving import (
    Classification,
    Delivery,
    GroupSection,
    Reports,
    Retry,
    RouteSection,
    Suppression,
)
from soboo_mta.settings.sections.relay import (
    Log,
    LogLevel,
    Monitoring,
    Retention,
    Secrets,
    Server,
    Store,
    Tls,
    Trace,
)
from soboo_mta.settings.sections.telling import Events, Webhooks

__all__ = [
    "Classification",
    "Complaints",
    "Delivery",
    "Dns",
    "Events",
    "GroupSection",
    "Http",
    "HttpListener",
    "Listener",
    "ListenerTls",
    "Log",
    "LogLevel",
    "Monitoring",
    "Onboarding",
    "OperatorSection",
    "PoolSection",
    "Publish",
    "Reports",
    "Retention",
    "Retry",
    "ReturnListener",
    "Returns",
    "RouteSection",
    "Secrets",
    "Server",
    "Signing",
    "SourceSection",
    "Store",
    "Submission",
    "Suppression",
    "Tls",
    "Trace",
    "Webhooks",
]
