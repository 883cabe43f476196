"""What can be wrong with a record, each with a code for programs; people read the cause.

`docs/dns-faults.md` has a row for each: what it means and how to mend it.
"""

from enum import StrEnum


class Fault(StrEnum):
    """One cause. Codes are never renamed: they are stored, and others' programs know them."""

    NONE = ""
    NO_ANSWER = "no-answer"  # says nothing about what exists

    # the zone, and the zones above
    NOT_REGISTERED = "not-registered"
    NOT_DELEGATED = "not-delegated"
    OTHER_SERVERS = "other-name-servers"
    SPLIT_SERVERS = "split-servers"
    LAME_SERVERS = "lame-servers"
    BOGUS = "dnssec-bogus"
    ORPHAN_DS = "orphan-ds"

    # caches on the way; the record is right
    STALE_CACHE = "stale-cache"
    NEGATIVE_CACHE = "negative-cache"

    # where it is
    NO_NAME = "no-such-name"
    NO_TYPE = "no-such-record"
    DOUBLED_ZONE = "doubled-zone"
    MISSING_LABEL = "missing-label"
    MISSING_UNDERSCORE = "missing-underscore"
    WILDCARD = "wildcard"

    # of which type
    WRONG_TYPE = "wrong-type"
    CONFLICT = "conflicting-types"
    FLATTENED = "flattened-cname"
    PROXIED = "proxied-cname"
    ENDLESS_CHAIN = "endless-chain"

    # where it leads to
    WRONG_TARGET = "wrong-target"
    RELATIVE_TARGET = "relative-target"
    MISTYPED_TARGET = "mistyped-target"
    OTHER_ACCOUNT = "other-accounts-target"
    OTHER_PROVIDER = "previous-provider"
    SWAPPED = "swapped-records"

    # what it says
    WRONG_VALUE = "wrong-value"
    QUOTED = "quoted-value"
    ESCAPED = "escaped-value"
    NAME_IN_VALUE = "name-in-value"

    # keys
    SEVERAL_KEYS = "several-keys"
    SPLIT_KEY = "split-key"
    DISORDERED_KEY = "disordered-key"
    BARE_KEY = "bare-key"
    TRUNCATED_KEY = "truncated-key"
    CASE_FOLDED_KEY = "case-folded-key"
    WRAPPED_KEY = "wrapped-key"  # receivers take it
    OTHER_KEY = "other-key"
    EMPTY_KEY = "empty-key"
    KEY_TAGS = "key-tags"
    KEY_NOT_REVOKED = "key-not-revoked"

    # what the operator publishes
    OPERATOR_KEY = "operator-key"
    OPERATOR_SPF = "operator-spf"
    OPERATOR_HOST = "operator-host"
    OPERATOR_REPORTS = "operator-reports"

    # where returns go
    NO_MX = "no-mx"
    NULL_MX = "null-mx"
    FOREIGN_MX = "foreign-mx"

    SPF_MISSING = "spf-missing"
    SPF_SEVERAL = "spf-several"
    SPF_LOOKUPS = "spf-lookups"
    SPF_VOIDS = "spf-voids"
    SPF_OPEN = "spf-open"
    SPF_SYNTAX = "spf-syntax"
    SPF_PASTED_TWICE = "spf-pasted-twice"
    SPF_BROKEN_INCLUDE = "spf-broken-include"
    SPF_WITHOUT_US = "spf-without-us"
    SPF_UNREAD = "spf-unread-include"
    SPF_NEGATED = "spf-negated-include"
    SPF_MISNAMED = "spf-misnamed-include"

    DMARC_MISSING = "dmarc-missing"
    DMARC_SEVERAL = "dmarc-several"
    DMARC_SYNTAX = "dmarc-syntax"
    DMARC_STRICT = "dmarc-strict"  # nothing aligns
    DMARC_STRICT_DKIM = "dmarc-strict-dkim"  # SPF aligns alone
    DMARC_REPORTS = "dmarc-reports-refused"
    DMARC_WITHOUT_US = "dmarc-without-us"
