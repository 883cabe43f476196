"""docs/dns-faults.md has a row for each fault, and none for what is no fault."""

import re
from pathlib import Path

from soboo_mta.identity.state import Fault

_PAGE = Path("docs/dns-faults.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (\S.*\S) \| (\S.*\S) \|$", re.MULTILINE)


def test_each_fault_has_one_row_and_each_row_a_fault() -> None:
    listed = [code for code, _, _ in _ROW.findall(_PAGE)]
    assert sorted(listed) == sorted(fault for fault in Fault if fault)
