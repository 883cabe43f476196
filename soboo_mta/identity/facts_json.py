"""Facts and plans as JSON, for the store: the same value gives the same text.

What was written by an older version reads back; anything else raises FormatError.
"""

import json
from typing import Any

from soboo_mta.identity.state import Alignment, DmarcView, Facts, Plan
from soboo_mta.mail.domain import Domain
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import KeyId


def facts_to_json(facts: Facts) -> str:
    return _text(
        {
            "usable": list(facts.usable),
            "usable_author": list(facts.usable_author),
            "bounce_ready": facts.bounce_ready,
            "spf_bounce": list(facts.spf_bounce),
            "spf_author": list(facts.spf_author),
            "walk": _view_values(facts.walk),
            "suffix_list": _view_values(facts.suffix_list),
            "observed_at": facts.observed_at,
            "stable_since": facts.stable_since,
            "link_ready": facts.link_ready,
            "image_ready": facts.image_ready,
        }
    )


def facts_from_json(text: str) -> Facts:
    """Return the facts that `facts_to_json` wrote; raise FormatError for other text."""
    try:
        values = json.loads(text)
        return Facts(
            usable=_keys(values["usable"]),
            usable_author=_keys(values.get("usable_author", [])),
            bounce_ready=bool(values["bounce_ready"]),
            spf_bounce=tuple(map(str, values["spf_bounce"])),
            spf_author=tuple(map(str, values["spf_author"])),
            walk=_view(values["walk"]),
            suffix_list=_view(values["suffix_list"]),
            observed_at=int(values["observed_at"]),
            stable_since=int(values.get("stable_since", values["observed_at"])),
            link_ready=bool(values.get("link_ready", False)),
            image_ready=bool(values.get("image_ready", False)),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"not the facts of a domain: {error!r}") from error


def plan_to_json(plan: Plan) -> str:
    """The plan as evidence beside an attempt; equal plans give equal text."""
    return _text(
        {
            "rung": plan.rung,
            "bounce_domain": plan.bounce_domain,
            "bounce_blind": plan.bounce_blind,
            "signatures": [
                {
                    "d": signature.domain,
                    "s": signature.selector,
                    "a": signature.algorithm,
                    "key": signature.key_id,
                }
                for signature in plan.signatures
            ],
            "ehlo": plan.ehlo_name,
            "verdict": plan.verdict,
            "aligned": {
                "walk": list(plan.by_walk),
                "suffix_list": list(plan.by_suffix_list),
            },
            "policy": plan.policy,
        }
    )


def _keys(values: Any) -> tuple[KeyId, ...]:  # JSON, as below
    return tuple(KeyId(int(key)) for key in values)


def _text(values: dict[str, object]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def _view_values(view: DmarcView) -> dict[str, object]:
    return {
        "has_record": view.has_record,
        "policy": view.policy,
        "dkim": view.dkim,
        "spf": view.spf,
        "organizational": [list(pair) for pair in view.organizational],
    }


def _view(values: Any) -> DmarcView:  # JSON: the shape is what is checked here
    return DmarcView(
        has_record=bool(values["has_record"]),
        policy=str(values["policy"]),
        dkim=Alignment(values["dkim"]),
        spf=Alignment(values["spf"]),
        organizational=tuple(
            (Domain(name), Domain(organizational))
            for name, organizational in values["organizational"]
        ),
    )
