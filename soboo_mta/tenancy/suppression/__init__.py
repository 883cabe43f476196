"""Recipients that a tenant's mail does not go to: the lists, what brings an address there
and takes it out, and a worker's view."""

from soboo_mta.tenancy.suppression.changes import Change, PastChange, history
from soboo_mta.tenancy.suppression.consequences import (
    complained,
    concerns_recipient,
    consequences,
    count_soft,
    unsubscribed,
)
from soboo_mta.tenancy.suppression.entry import (
    NO_EVIDENCE,
    Evidence,
    SoftRule,
    Suppression,
    SuppressionReason,
    SuppressionRules,
    evidence_of,
    folded,
    parse_because,
)
from soboo_mta.tenancy.suppression.rows import (
    count_suppressions,
    entries_of,
    list_suppressions,
    place_in_list,
    remove_suppression,
    suppress,
)
from soboo_mta.tenancy.suppression.soft import SoftFailure, forgive, soft_failures
from soboo_mta.tenancy.suppression.sweep import sweep_suppressions
from soboo_mta.tenancy.suppression.view import Suppressions

__all__ = [
    "NO_EVIDENCE",
    "Change",
    "Evidence",
    "PastChange",
    "SoftFailure",
    "SoftRule",
    "Suppression",
    "SuppressionReason",
    "SuppressionRules",
    "Suppressions",
    "complained",
    "concerns_recipient",
    "consequences",
    "count_soft",
    "count_suppressions",
    "entries_of",
    "evidence_of",
    "folded",
    "forgive",
    "history",
    "list_suppressions",
    "parse_because",
    "place_in_list",
    "remove_suppression",
    "soft_failures",
    "suppress",
    "sweep_suppressions",
    "unsubscribed",
]
