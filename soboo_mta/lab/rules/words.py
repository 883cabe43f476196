"""What an address itself asks a sink to do: words in a tag at the end of its local part.

`bob+reply-550@any.test` is refused, `bob+reply-450-x2@any.test` twice and then taken. So
a test needs no file. Turns an address into a rule for that address; knows nothing else.
"""

import re

from soboo_mta.lab.rules.rule import Action, Rule, Stage

_TAG = re.compile(
    r"""
    (?: reply-(?P<code>[45]\d\d)(?:-(?P<enhanced>[45]\.\d{1,3}\.\d{1,3}))?
      | (?P<word>hang|drop|greylist|slow)
      | delay-(?P<delay>\d{1,4})s
    )
    (?: -x(?P<times>\d{1,4}) )?
    (?: -at-(?P<stage>rcpt|data|dot) )?
    """,
    re.VERBOSE,
)
_GREYLISTED = 1.0  # seconds


def rule_of(recipient: str) -> Rule | None:
    """Return what the address asks for, or None: most addresses ask for nothing."""
    local = recipient.rpartition("@")[0].lower()
    found = _TAG.fullmatch(local.rpartition("+")[2]) if "+" in local else None
    if found is None:
        return None
    word = found["word"] or ("reply" if found["code"] else "accept")
    stage = {"greylist": "rcpt", "slow": "data"}.get(word, found["stage"] or "rcpt")
    code = found["code"]
    return Rule(
        recipient=recipient,
        stage=Stage(stage),
        action=Action(word),
        code=int(code) if code else None,
        enhanced=found["enhanced"] or (f"{code[0]}.0.0" if code else ""),
        text="As the address asks" if code else "",
        seconds=_GREYLISTED if word == "greylist" else 0,
        delay=float(found["delay"] or 0),
        times=int(found["times"] or 0),
    )
