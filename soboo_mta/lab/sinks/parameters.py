"""Parameters of MAIL and RCPT: only those of extensions that were offered pass.

RFC 5321 §4.1.1.11 for the answer, RFC 3461 §4 for DSN's, which the library does not know
and which are taken off before it looks.
"""

import re

from soboo_mta.lab.rules.rule import Extension

_PATH = re.compile(r'\s*\w+:\s*<(?:"(?:\\.|[^"\\])*"|[^">])*>')
_EXTENSION_OF = {
    "SIZE": Extension.SIZE,
    "BODY": Extension.EIGHT_BIT,
    "SMTPUTF8": Extension.SMTPUTF8,
    "RET": Extension.DSN,
    "ENVID": Extension.DSN,
    "NOTIFY": Extension.DSN,
    "ORCPT": Extension.DSN,
}


def fitting(arg: str | None, offered: frozenset[Extension]) -> tuple[str | None, str]:
    """Return the argument for the library and "", or the refusal of a parameter."""
    path = _PATH.match(arg or "")
    if arg is None or path is None:
        return arg, ""  # not a path: the library says so
    kept = []
    for parameter in arg[path.end() :].split():
        keyword = parameter.partition("=")[0].upper()
        extension = _EXTENSION_OF.get(keyword)
        if extension is not None and extension not in offered:
            return arg, f"555 5.5.4 {keyword} is of {extension}, which was not offered"
        if extension is not Extension.DSN:
            kept.append(parameter)
    return " ".join([path[0], *kept]), ""
