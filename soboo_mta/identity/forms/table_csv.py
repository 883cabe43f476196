"""Records as CSV, for spreadsheets and import forms. Pure."""

import csv
import io
from collections.abc import Iterable

from soboo_mta.identity.forms.parts import TTL
from soboo_mta.identity.state import RequiredRecord

COLUMNS = ("name", "type", "ttl", "value", "required", "note")


def csv_text(records: Iterable[RequiredRecord], *, ttl: int = TTL) -> str:
    """Return a head line and a line for each record. Names are full, without the final
    dot; values as in `RequiredRecord`, a TXT whole; `required` is yes or no."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for record in records:
        needed = "yes" if record.is_required else "no"
        lines.writerow(
            (record.owner, record.kind, ttl, record.value, needed, record.note)
        )
    return text.getvalue()
