"""Holds a template against the schema, the public repository's rules and, where wanted,
Cloudflare's profile. Pure.

Rules: README and pull request form of github.com/Domain-Connect/Templates, its schema, and
the numbers of its linter (DCTL), so that one finding can be told from the other's.
"""

import json
from collections.abc import Iterator
from enum import StrEnum

from soboo_mta.mail.errors import FormatError
from soboo_mta.onboarding.connect.lint.cloudflare import (
    cloudflare_record_rules,
    cloudflare_rules,
)
from soboo_mta.onboarding.connect.lint.finding import Finding, Values, error, place_of
from soboo_mta.onboarding.connect.lint.record_rules import record_rules
from soboo_mta.onboarding.connect.lint.rules import (
    file_rules,
    records_rules,
    template_rules,
)
from soboo_mta.onboarding.connect.lint.shape import record_shape, template_shape


class Profile(StrEnum):
    """Whose rules, above those of the public repository."""

    REPOSITORY = "repository"
    CLOUDFLARE = "cloudflare"


def read_template(octets: bytes) -> Values:
    """Return a template as JSON gives it; raise FormatError where it is none."""
    try:
        found = json.loads(octets, object_pairs_hook=_without_doubles)
    except UnicodeDecodeError as fault:
        raise FormatError("the template is no JSON: it is no text of UTF-8") from fault
    except RecursionError as fault:
        raise FormatError("the template is no JSON that is read: too deep") from fault
    except json.JSONDecodeError as fault:
        raise FormatError(
            f"the template is no JSON: line {fault.lineno}: {fault.msg}"
        ) from fault
    if not isinstance(found, dict):
        raise FormatError(
            "the template is no JSON object: it begins with { and a field"
        )
    return found


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise FormatError(f"the field {name!r} stands twice: keep one")
    return dict(pairs)


def lint(
    template: Values, profile: Profile, *, file: str | None = None
) -> tuple[Finding, ...]:
    """Return what is found, in the order of the template; `file` is the file's name."""
    return tuple(_found(template, profile, file))


def _found(template: Values, profile: Profile, file: str | None) -> Iterator[Finding]:
    if file is not None:
        yield from file_rules(template, file)
    yield from template_shape(template)
    yield from template_rules(template)
    if profile is Profile.CLOUDFLARE:
        yield from cloudflare_rules(template)
    listed = template.get("records")
    records = listed if isinstance(listed, list) else []
    host_required = template.get("hostRequired") is True
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            yield error("schema field-type", f"record {number}", "it is no object")
            continue
        place = place_of(number, record)
        yield from record_shape(record, place)
        yield from record_rules(record, place, host_required=host_required)
        if profile is Profile.CLOUDFLARE:
            yield from cloudflare_record_rules(record, place)
    yield from records_rules([one for one in records if isinstance(one, dict)])
