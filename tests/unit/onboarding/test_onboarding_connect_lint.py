"""The linter: a template that keeps every rule, and one that breaks each."""

import copy
from typing import Any

import pytest

from soboo_mta.mail.errors import FormatError
from soboo_mta.onboarding.connect.lint.finding import Severity
from soboo_mta.onboarding.connect.lint.lint import Profile, lint, read_template

FILE = "esp.example.mail.json"
GOOD: dict[str, Any] = {
    "providerId": "esp.example",
    "providerName": "ESP",
    "serviceId": "mail",
    "serviceName": "Mail",
    "version": 1,
    "syncPubKeyDomain": "dc.esp.example",
    "records": [
        {
            "type": "CNAME",
            "groupId": "bounce",
            "host": "bounce",
            "pointsTo": "%token%.b.esp.example",
            "ttl": 3600,
        },
        {
            "type": "TXT",
            "groupId": "dmarc",
            "host": "_dmarc",
            "data": "v=DMARC1; p=none",
            "ttl": 3600,
            "txtConflictMatchingMode": "Prefix",
            "txtConflictMatchingPrefix": "v=DMARC1",
            "essential": "OnApply",
        },
    ],
}
ADDRESS = {"type": "A", "groupId": "a", "host": "www", "pointsTo": "192.0.2.1"}
TEXT = {"type": "TXT", "groupId": "a", "host": "www", "data": "esp=%token%"}
SPFM = {"type": "SPFM", "groupId": "a", "host": "@", "spfRules": "include:e.example"}
GONE = object()


def rules(
    template: dict[str, Any],
    profile: Profile = Profile.REPOSITORY,
    file: str | None = FILE,
) -> dict[str, Severity]:
    return {one.rule: one.severity for one in lint(template, profile, file=file)}


def changed(field: str, value: object) -> dict[str, Any]:
    made = copy.deepcopy(GOOD)
    if value is GONE:
        del made[field]
    else:
        made[field] = value
    return made


def with_record(record: dict[str, Any], **changes: object) -> dict[str, Any]:
    made = copy.deepcopy(GOOD)
    fields = {k: v for k, v in {**record, **changes}.items() if v is not GONE}
    made["records"].append(fields)
    return made


def with_dmarc(**changes: object) -> dict[str, Any]:
    made = copy.deepcopy(GOOD)
    dmarc = {**made["records"][1], **changes}
    made["records"][1] = {k: v for k, v in dmarc.items() if v is not GONE}
    return made


def test_a_template_that_keeps_the_rules_has_no_finding() -> None:
    assert rules(GOOD) == {}
    for record in (ADDRESS, TEXT, SPFM):
        assert rules(with_record(record)) == {}


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        (changed("providerName", GONE), "DCTL0008 required-field"),
        (changed("records", GONE), "DCTL0008 required-field"),
        (changed("providerId", ""), "DCTL0008 required-field"),
        (changed("records", []), "DCTL1030 no-records"),
        (changed("records", "none"), "schema field-type"),
        (changed("records", ["none"]), "schema field-type"),
        (changed("version", True), "schema field-type"),
        (changed("warnFishing", True), "schema unknown-field"),
        (changed("serviceId", "my mail"), "DCTL1002 id-characters"),
        (changed("serviceId", "post"), "DCTL1003 file-name"),
        (changed("version", 0), "DCTL1006 version"),
        (changed("shared", True), "DCTL1007 shared"),
        (changed("logoUrl", "http://esp.example/l.png"), "DCTL1010 logo"),
        (
            changed("syncRedirectDomain", "a.example, b.example"),
            "DCTL1026 redirect-domain",
        ),
        (changed("warnPhishing", True), "DCTL1028 warn-phishing"),
        (changed("syncPubKeyDomain", GONE), "DCTL1029 key-domain"),
        (with_record(ADDRESS, groupId=GONE), "DCTL1032 group-mix"),
        (with_record(ADDRESS, host="bounce"), "DCTL1011 cname-alone"),
        (with_record(GOOD["records"][1]), "DCTL1023 duplicate"),
        (with_record(ADDRESS, type=GONE), "DCTL0008 required-field"),
        (with_record(ADDRESS, pointsTo=GONE), "DCTL0008 required-field"),
        (with_record(SPFM, spfRules=GONE), "DCTL0008 required-field"),
        (with_record(ADDRESS, colour="red"), "schema unknown-field"),
        (with_record(ADDRESS, host=7), "schema field-type"),
        (with_record(ADDRESS, ttl=-1), "DCTL1000 ttl"),
        (with_record(ADDRESS, ttl=2**31), "DCTL1000 ttl"),
        (with_record(ADDRESS, type="SPF99"), "DCTL1016 record-type"),
        (with_record(ADDRESS, type="CAA"), "DCTL1016 record-type"),
        (with_record(ADDRESS, host="a b"), "DCTL1027 host-characters"),
        (with_record(ADDRESS, type="NS", host="@"), "DCTL1012 apex"),
        (with_record(ADDRESS, type="CNAME", host="@"), "DCTL1012 apex"),
        (with_record(TEXT, host="a.%host%"), "DCTL1024 host-variable"),
        (with_record(TEXT, host="%name%"), "DCTL1040 bare-host"),
        (with_record(TEXT, host="www.%name%"), "README variable-subdomain"),
        (with_record(TEXT, data="%text%"), "DCTL1040 bare-variable"),
        (with_record(ADDRESS, pointsTo="%address%"), "DCTL1040 bare-variable"),
        (with_record(ADDRESS, type="%type%"), "DCTL1009 variable-context"),
        (with_record(ADDRESS, groupId="%group%"), "DCTL1009 variable-context"),
        (with_record(TEXT, data="esp=%token"), "DCTL1020 variable-end"),
        (with_record(TEXT, data="esp=%to ken%"), "DCTL1019 variable-name"),
        (with_record(ADDRESS, pointsTo="mail.esp.example"), "DCTL1034 address"),
        (with_record(ADDRESS, pointsTo="2001:db8::1"), "DCTL1035 address-family"),
        (with_record(ADDRESS, type="AAAA"), "DCTL1036 address-family"),
        (with_record(TEXT, txtConflictMatchingMode="Some"), "DCTL1015 conflict-mode"),
        (with_record(TEXT, data="v=TLSRPTv1; x"), "README conflict-mode"),
        (with_dmarc(txtConflictMatchingMode=GONE), "README conflict-mode"),
        (with_dmarc(txtConflictMatchingMode="None"), "README conflict-mode"),
        (with_dmarc(txtConflictMatchingPrefix=GONE), "DCTL1042 conflict-prefix"),
        (with_dmarc(txtConflictMatchingPrefix="v=spf1"), "DCTL1042 conflict-prefix"),
        (with_dmarc(essential=GONE), "README essential"),
        (with_dmarc(essential="Always"), "README essential"),
        (with_dmarc(essential="Sometimes"), "DCTL1015 essential"),
        (with_record(TEXT, data="v=spf1 include:e.example ~all"), "DCTL1014 spf-text"),
        (with_record(SPFM, spfRules="v=spf1 a"), "DCTL1017 spf-rules"),
        (with_record(SPFM, spfRules="a -all"), "DCTL1017 spf-rules"),
    ],
)
def test_each_rule_that_is_broken_is_named(template: dict[str, Any], rule: str) -> None:
    assert rule in rules(template)


def test_one_group_for_all_says_nothing() -> None:
    made = copy.deepcopy(GOOD)
    for record in made["records"]:
        record["groupId"] = "all"
    assert rules(made) == {"DCTL1031 one-group": Severity.NOTE}


def test_a_dkim_host_with_a_variable_before_a_fixed_part_is_allowed() -> None:
    made = with_record(TEXT, host="%key%._domainkey", data="v=DKIM1; p=%value%")
    assert rules(made) == {}


def test_an_apex_is_allowed_where_a_host_is_required() -> None:
    made = with_record(ADDRESS, type="NS", host="@", pointsTo="ns.esp.example")
    made["hostRequired"] = True
    assert rules(made) == {}


@pytest.mark.parametrize(
    ("template", "rule", "severity"),
    [
        (changed("syncBlock", True), "DCTL5000 sync-block", "error"),
        (changed("syncPubKeyDomain", GONE), "DCTL5001 key-domain", "error"),
        (changed("sharedServiceName", True), "DCTL5002 shared-service-name", "note"),
        (changed("syncRedirectDomain", "a.b"), "DCTL5003 redirect-domain", "note"),
        (changed("multiInstance", True), "DCTL5004 multi-instance", "note"),
        (changed("warnPhishing", True), "DCTL5005 warn-phishing", "note"),
        (changed("hostRequired", True), "DCTL5006 host-required", "note"),
        (with_record(ADDRESS, type="CNAME", host="@"), "DCTL5007 flattening", "note"),
        (GOOD, "DCTL5008 conflict-mode", "note"),
        (with_record(ADDRESS, type="APEXCNAME"), "DCTL5009 apex-cname", "error"),
        (with_record(ADDRESS, ttl=0), "DCTL5010 ttl", "note"),
        (GOOD, "DCTL5011 essential", "note"),
    ],
)
def test_each_rule_of_cloudflare_is_named_in_its_profile_alone(
    template: dict[str, Any], rule: str, severity: str
) -> None:
    assert rules(template, Profile.CLOUDFLARE)[rule] == severity
    assert rule not in rules(template)


def test_a_finding_says_which_record() -> None:
    (found,) = lint(with_record(ADDRESS, ttl=-1), Profile.REPOSITORY, file=FILE)
    assert found.place == "record 3 (A www)"
    assert found.severity is Severity.ERROR


def test_without_a_file_its_name_is_not_held_against_it() -> None:
    assert rules(changed("serviceId", "post"), file=None) == {}


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "no JSON: line 1"),
        (b'{"a": 1,\n}', "no JSON: line 2"),
        (b"[]", "no JSON object"),
        (b"\xff\xfe\xff", "no text of UTF-8"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"records": [{"ttl": 1, "ttl": 2}]}', "'ttl' stands twice"),
        (b"[" * 200_000, "too deep"),
    ],
)
def test_what_is_no_template_is_said(octets: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        read_template(octets)
