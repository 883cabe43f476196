"""Our Domain Connect templates: applied as a DNS host would, they are what is required."""

from dataclasses import replace

import pytest

from soboo_mta.identity.records import required_records
from soboo_mta.identity.state import DomainSettings, Mode
from soboo_mta.mail.domain import DnsName, Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.onboarding.connect.lint.finding import Severity
from soboo_mta.onboarding.connect.lint.lint import Profile, lint
from soboo_mta.onboarding.connect.template import (
    Labels,
    Texts,
    file_name,
    groups,
    labels_of,
    service_id,
    template,
)
from tests.fakes.domains import OPERATOR, SETTINGS

TEXTS = Texts("ESP", 1, "https://esp.example/logo.svg")
ZONE = replace(SETTINGS, mode=Mode.ZONE, zone=Domain("em.customer.com"))
BELOW = replace(SETTINGS, name=Domain("news.customer.com"))


def applied(settings: DomainSettings, domain: str, host: str) -> set[tuple[str, ...]]:
    """What a DNS host makes of the template: owner, type, value."""
    made = template(OPERATOR, labels_of(settings), TEXTS)
    below = f"{host}.{domain}" if host else domain
    found = set()
    for record in made["records"]:  # type: ignore[attr-defined]  # a list of records
        value = record.get("pointsTo") or record["data"]
        value = value.replace("%token%", settings.token).replace("%fqdn%", below)
        found.add((f"{record['host']}.{below}", record["type"], value))
    return found


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        (SETTINGS, ""),
        (BELOW, "news"),
        (replace(SETTINGS, bounce_label="returns"), ""),
        (replace(SETTINGS, selectors=tuple(map(DnsName, "abcd"))), ""),
        (ZONE, ""),
        (replace(BELOW, mode=Mode.ZONE, zone=Domain("em.news.customer.com")), "news"),
    ],
)
def test_what_is_applied_is_what_is_required(
    settings: DomainSettings, host: str
) -> None:
    assert applied(settings, "customer.com", host) == {
        (one.owner, one.kind, one.value.removesuffix("."))
        for one in required_records(settings, OPERATOR)
    }


@pytest.mark.parametrize("settings", [SETTINGS, ZONE])
@pytest.mark.parametrize("profile", Profile)
def test_our_templates_keep_every_rule(
    settings: DomainSettings, profile: Profile
) -> None:
    labels = labels_of(settings)
    made = template(OPERATOR, labels, TEXTS)
    found = lint(made, profile, file=file_name(OPERATOR, labels))
    assert [one for one in found if one.severity is not Severity.NOTE] == []
    if profile is Profile.REPOSITORY:
        assert found == ()


def test_the_token_is_the_one_variable_and_no_tenant_is_named() -> None:
    for settings in (SETTINGS, ZONE):
        text = str(template(OPERATOR, labels_of(settings), TEXTS))
        assert set(text.split("%")[1::2]) <= {"token", "fqdn"}
        assert SETTINGS.token not in text
        assert SETTINGS.name not in text


def test_each_delegated_label_has_a_service_of_its_own() -> None:
    assert service_id(labels_of(SETTINGS)) == "soboo-cname"
    assert service_id(labels_of(ZONE)) == "soboo-zone-em"
    mail = replace(ZONE, zone=Domain("mail.customer.com"))
    assert file_name(OPERATOR, labels_of(mail)) == "esp.example.soboo-zone-mail.json"


def test_labels_that_are_not_the_usual_ones_are_in_the_name() -> None:
    four = tuple(map(DnsName, ("sb1", "sb2", "sb3", "sb4")))
    for changes, service in (
        ({"bounce_label": "returns"}, "soboo-cname.returns"),
        ({"selectors": four}, "soboo-cname.sb1.sb2.sb3.sb4"),
        (
            {"bounce_label": "returns", "selectors": four},
            "soboo-cname.returns.sb1.sb2.sb3.sb4",
        ),
    ):
        settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]  # shorthand
        assert service_id(labels_of(settings)) == service
    within = replace(ZONE, bounce_label="returns")  # in our own zone
    assert service_id(labels_of(within)) == "soboo-zone-em"


def test_the_groups_come_in_order() -> None:
    assert groups(OPERATOR, labels_of(SETTINGS)) == ("bounce", "dkim", "dmarc")
    assert groups(OPERATOR, labels_of(ZONE)) == ("zone", "dkim", "dmarc")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": Mode.MANUAL}, "modes cname and zone"),
        ({"mode": Mode.ZONE}, "one label below"),
        ({"mode": Mode.ZONE, "zone": Domain("a.b.customer.com")}, "one label below"),
    ],
)
def test_what_no_template_can_hold_is_refused(
    changes: dict[str, object], said: str
) -> None:
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]  # test shorthand
    with pytest.raises(FormatError, match=said):
        labels_of(settings)


@pytest.mark.parametrize("label", ["a.b", "", "a b", "-a", "x" * 64])
def test_what_is_no_label_is_refused(label: str) -> None:
    for bounce, zone in (("bounce", label), (label, None)):
        with pytest.raises(FormatError, match="not one label"):
            Labels(bounce=bounce, selectors=(DnsName("sb1"),), zone=zone)
