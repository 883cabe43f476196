"""When a reply says to come back: "try again in 300 seconds", "retry after 5 min". Pure."""

import re
from datetime import timedelta
from typing import Final

from soboo_mta.mail.reply import Reply

SHORTEST: Final = timedelta(seconds=30)  # what asks for less is asked again soon enough
LONGEST: Final = timedelta(hours=4)  # a peer does not decide that mail waits for days
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600}
_HINT: Final = re.compile(
    r"(?:again|back|retry|wait|greylist(?:ed|ing)?|delay(?:ed)?)\b[^0-9]{0,30}?"
    r"(?:(?P<hours>\d{1,2}):)?(?:(?P<minutes>\d{1,2}):(?P<seconds>\d{2})"
    r"|(?P<number>\d{1,6}) ?(?P<unit>s|m|h)(?:ec|in|our|r)?[a-z]*\b)",
    re.I,
)


def hint_in(reply: Reply) -> timedelta | None:
    """Return the wait that a 4xx reply asks for, within SHORTEST and LONGEST; None where
    it asks for none."""
    found = _HINT.search(reply.text) if reply.is_transient else None
    if found is None:
        return None
    if found["number"]:
        seconds = int(found["number"]) * _UNITS[found["unit"].lower()]
    else:
        hours, minutes = int(found["hours"] or 0), int(found["minutes"])
        seconds = (hours * 60 + minutes) * 60 + int(found["seconds"])
    return min(max(timedelta(seconds=seconds), SHORTEST), LONGEST)
