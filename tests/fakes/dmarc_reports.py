"""DMARC aggregate reports of both forms, the mail they come in, and a desk for them."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from sqlalchemy import Connection, insert

from soboo_mta.events.outbox.cursors import begin, newest, the_cursor
from soboo_mta.events.reports.dmarc import DAY_MS, Signature
from soboo_mta.events.tally.counting import CURSOR
from soboo_mta.formats.authentication import (
    Authentication,
    DmarcVerdict,
    Identity,
    Result,
    SpfVerdict,
)
from soboo_mta.identity.dmarc import SuffixList
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.returned import DkimResult, DmarcReport, DmarcRow
from soboo_mta.ports import Clock
from soboo_mta.returns.reports.dmarc_desk import DmarcDesk
from soboo_mta.store.schema import sent_tally
from soboo_mta.tenancy.doubts import Doubts
from tests.fakes.tenancy import NAME

OUR_ADDRESS = "192.0.2.10"
STRANGER = "198.51.100.66"
FORWARDER = "198.51.100.7"
OPERATOR = Domain("esp.example")
SUFFIXES = SuffixList()
SB1: Signature = (NAME, DnsName("sb1"))


def row(source: str = OUR_ADDRESS, count: int = 1, **changed: Any) -> DmarcRow:
    """Mail of customer.com that passes by DKIM and SPF, signed with sb1."""
    values: dict[str, Any] = {
        "disposition": "none",
        "dkim": "pass",
        "spf": "pass",
        "header_from": str(NAME),
        "dkim_results": (signed(),),
        "spf_domain": f"bounce.{NAME}",
        "spf_result": "pass",
    }
    return DmarcRow(source_ip=source, count=count, **(values | changed))


def signed(
    domain: str = str(NAME), selector: str = "sb1", result: str = "pass"
) -> DkimResult:
    return DkimResult(domain=domain, selector=selector, result=result)


FAILS: Mapping[str, Any] = {
    "dkim": "fail",
    "spf": "fail",
    "dkim_results": (signed(result="fail"),),
    "spf_result": "softfail",
}
STRANGE: Mapping[str, Any] = {
    "dkim": "fail",
    "spf": "fail",
    "dkim_results": (),
    "spf_domain": "spam.example",
}


def a_report(day: int, *rows: DmarcRow, **changed: Any) -> DmarcReport:
    """A report on customer.com for one whole unix day, UTC."""
    begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    values: dict[str, Any] = {
        "reporter": "Receiver Inc",
        "report_id": "r-1",
        "domain": str(NAME),
        "begin": begin,
        "end": begin + timedelta(days=1, seconds=-1),
        "policy": "none",
        "rows": rows,
    }
    return DmarcReport(**(values | changed))


def proof(
    author: str | None = "receiver.example", result: Result = Result.PASS
) -> Authentication:
    """What was found of a report's mail: DMARC's verdict on its Author."""
    return Authentication(
        spf=SpfVerdict(result=Result.NONE, identity=Identity.HELO, domain=None),
        dkim=(),
        dmarc=DmarcVerdict(
            result=result, author=None if author is None else Domain(author)
        ),
    )


@dataclass
class SentBefore:
    """A tally as it would be; what was asked of it."""

    delivered: dict[Signature, int] = field(default_factory=dict)
    asked: list[tuple[Domain, int, int]] = field(default_factory=list)

    def __call__(
        self, _connection: Connection, *, domain: Domain, first_day: int, last_day: int
    ) -> Mapping[Signature, int]:
        self.asked.append((domain, first_day, last_day))
        return self.delivered


def a_desk(clock: Clock, sent: SentBefore | None = None) -> DmarcDesk:
    return DmarcDesk(
        addresses=[ip_address(OUR_ADDRESS)],
        operator=OPERATOR,
        suffixes=SUFFIXES,
        doubts=Doubts(clock),
        sent=sent or SentBefore(),
    )


def tallied_since(connection: Connection, day: int) -> None:
    """Deliveries are counted since that unix day, all that there are."""
    if the_cursor(connection, CURSOR) is None:
        begin(connection, CURSOR, since=0, at=newest(connection))
    connection.execute(
        insert(sent_tally).values(
            day=day,
            tenant_id="acme",
            domain_id=999,
            source="default",
            provider="",
            plan_id=1,
            delivered=1,
            complaints=0,
        )
    )


# ---- as octets

_OLD = """\
<?xml version="1.0" encoding="UTF-8"?>
<feedback>
 <version>1.0</version>
 <report_metadata><org_name>{reporter}</org_name><email>d@{reporter}</email>
  <report_id>{report_id}</report_id>
  <date_range><begin>{begin}</begin><end>{end}</end></date_range></report_metadata>
 <policy_published><domain>{domain}</domain><adkim>r</adkim><aspf>r</aspf><p>none</p>
  <sp>none</sp><pct>100</pct></policy_published>
{records}</feedback>
"""
_NEW = """\
<?xml version="1.0" encoding="UTF-8"?>
<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">
 <version>1.0</version>
 <report_metadata><org_name>{reporter}</org_name><email>d@{reporter}</email>
  <report_id>{report_id}</report_id>
  <date_range><begin>{begin}</begin><end>{end}</end></date_range>
  <generator>a test</generator></report_metadata>
 <policy_published><domain>{domain}</domain><discovery_method>treewalk</discovery_method>
  <p>none</p><sp>none</sp><np>none</np><testing>n</testing></policy_published>
{records}</feedback>
"""
_RECORD = """\
 <record>
  <row><source_ip>{one.source_ip}</source_ip><count>{one.count}</count>
   <policy_evaluated><disposition>{one.disposition}</disposition><dkim>{one.dkim}</dkim>
    <spf>{one.spf}</spf></policy_evaluated></row>
  <identifiers><header_from>{one.header_from}</header_from></identifiers>
  <auth_results>{dkim}<spf><domain>{one.spf_domain}</domain>
   <result>{one.spf_result}</result></spf></auth_results>
 </record>
"""
_DKIM = (
    "<dkim><domain>{0.domain}</domain><selector>{0.selector}</selector>"
    "<result>{0.result}</result></dkim>"
)


def xml(report: DmarcReport, *, is_old: bool) -> bytes:
    """A report in the form of RFC 7489 (old) or of RFC 9990."""
    records = [
        _RECORD.format(one=one, dkim="".join(map(_DKIM.format, one.dkim_results)))
        for one in report.rows
    ]
    return (
        (_OLD if is_old else _NEW)
        .format(
            reporter=report.reporter,
            report_id=report.report_id,
            domain=report.domain,
            begin=int(report.begin.timestamp()),
            end=int(report.end.timestamp()),
            records="".join(records),
        )
        .encode()
    )


def zipped(octets: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.xml", octets)
    return file.getvalue()


def today(clock: Clock) -> int:
    """The unix day of a clock, UTC."""
    return clock.unix_ms() // DAY_MS
