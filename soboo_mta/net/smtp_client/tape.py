"""What was said on a connection, kept as it was and written out only when somebody asks.

While all goes well it costs a reference a group of commands. Content is its octet count and
what follows AUTH is stars: neither is ever in the text.
"""

from collections.abc import Iterator, Sequence

WireReply = tuple[int, str]  # code; text, its lines joined by spaces
_MAX_OPENING = 16_384  # octets kept of what was said before the first transaction
_MAX_LINE = 500  # characters shown of one line
_TAIL = 0.75  # of a text that is cut: the end says most
_STARS = "****"


class Tape:
    """One connection: its opening, and the last mail transaction."""

    __slots__ = ("_groups", "_kept", "_opening")

    def __init__(self) -> None:
        self._opening: list[tuple[bool, bytes]] = []  # whether it is ours; octets
        self._kept = 0
        self._groups: list[tuple[bytes | int, Sequence[WireReply]]] = []

    def opening(self, octets: bytes, *, ours: bool) -> None:
        """Keep a part of the opening, up to a bound."""
        self._kept += len(octets)
        if self._kept <= _MAX_OPENING:
            self._opening.append((ours, octets))

    def begin(self) -> None:
        """A new mail transaction: the one before is over."""
        self._groups = []

    def group(self, said: bytes | int, replies: Sequence[WireReply]) -> None:
        """Keep a group of commands, or how many octets of content were sent, with the
        list that its replies come into."""
        self._groups.append((said, replies))

    def text(self, limit: int) -> str:
        """Return the lines, `C: ` before ours and `S: ` before the peer's, in at most
        `limit` characters; what is left out is left out of the middle."""
        if limit <= 0:
            return ""
        lines = [*self._opening_lines(), *self._transaction_lines()]
        shown = [_shown(line) for line in lines]
        if sum(map(len, shown)) + len(shown) <= limit:
            return "\n".join(shown)
        return _cut(shown, limit)

    def _opening_lines(self) -> Iterator[str]:
        is_secret = False
        for ours, octets in self._opening:
            for line in octets.decode("utf-8", "replace").splitlines():
                if not ours:
                    is_secret = line.startswith("334")  # what follows answers AUTH
                    yield f"S: {line}"
                elif is_secret:
                    yield f"C: {_STARS}"
                else:
                    yield f"C: {_without_secret(line)}"

    def _transaction_lines(self) -> Iterator[str]:
        for said, replies in self._groups:
            if isinstance(said, int):
                yield f"C: (content, {said} octets)"
            else:
                for line in said.decode("utf-8", "replace").splitlines():
                    yield f"C: {_without_secret(line)}"
            for code, words in replies:
                yield f"S: {code} {words}"


def _without_secret(line: str) -> str:
    verb, _, rest = line.partition(" ")
    if verb.upper() != "AUTH":
        return line
    mechanism, _, secret = rest.partition(" ")
    return f"{verb} {mechanism} {_STARS}" if secret else line


def _shown(line: str) -> str:
    """One printable line: a peer's control characters are nobody's terminal's."""
    plain = "".join(one if one.isprintable() else " " for one in line[:_MAX_LINE])
    return plain.rstrip() + (" …" if len(line) > _MAX_LINE else "")


def _cut(lines: Sequence[str], limit: int) -> str:
    head, tail = [], []
    room = int(limit * (1 - _TAIL))
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        head.append(line)
    room = int(limit * _TAIL) - 40  # for the line that says what is missing
    for line in reversed(lines[len(head) :]):
        room -= len(line) + 1
        if room < 0:
            break
        tail.append(line)
    missing = len(lines) - len(head) - len(tail)
    return "\n".join([*head, f"… {missing} lines left out", *reversed(tail)])
