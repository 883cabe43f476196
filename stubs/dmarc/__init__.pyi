"""What soboo-mta uses of dmarc 1.2.1, typed by reading its source."""

from enum import Enum
from typing import Protocol

class Error(Exception): ...
class RecordSyntaxError(Error): ...

class SPFResult(Enum):
    PASS = "pass"

class DKIMResult(Enum):
    PASS = "pass"

class DMARCResult(Enum):
    PASS = "pass"
    FAIL = "fail"

class DMARCDisposition(Enum):
    UNSPECIFIED = None
    NONE = "none"
    REJECT = "reject"
    QUARANTINE = "quarantine"

class SuffixList(Protocol):
    def get_public_suffix(self, domain: str) -> str: ...

class SPF:
    def __init__(self, domain: str, result: SPFResult) -> None: ...

class DKIM:
    def __init__(self, domain: str, result: DKIMResult) -> None: ...

class AuthResults:
    def __init__(
        self, spf: SPF | None = None, dkim: list[DKIM] | None = None
    ) -> None: ...

class Policy:
    p: DMARCDisposition
    sp: DMARCDisposition
    domain: str
    org_domain: str | None

class Result:
    result: DMARCResult
    disposition: DMARCDisposition

class DMARC:
    def __init__(self, publicsuffix: SuffixList | None = None) -> None: ...
    def get_result(
        self,
        policy: Policy,
        spf: SPF | None = None,
        dkim: DKIM | None = None,
        auth_results: AuthResults | None = None,
        allow_policy_test_mode: bool = False,
    ) -> Result: ...
    def parse_record(
        self,
        record: str,
        domain: str,
        org_domain: str | None = None,
        ip_addr: str | None = None,
        strict: bool = True,
    ) -> Policy: ...
