"""Writes docs/cases.md: each case of the case list, what must hold, and its tests.

    python tools/case_index.py

What must hold, and why a case has no test, stand in tests/cases.toml; the tests are those
whose names carry the number: `test_case_036_…`, or `test_case_011_013_…` for two.
"""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
LIST = TESTS / "cases.toml"
INDEX = ROOT / "docs" / "cases.md"
_TEST = re.compile(r"^(?:async )?def test_case((?:_\d{3})+)_(\w+)\(", re.M)
_HEAD = """\
# The case list

What attacks and faults must come to, and the tests that show it. The numbers are for good:
tests and comments in the code name them. What **bold** ones say comes first of all.
Written by `make cases` from `tests/cases.toml` and the names of the tests;
`tests/unit/test_docs_cases.py` keeps all three in step.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Cases of one kind: `holds` says by number what must hold, `open` why there is no
    test; `must` are those that come first of all."""

    letter: str
    title: str
    must: frozenset[int]
    holds: dict[int, str]
    open: dict[int, str]


@dataclass(frozen=True, slots=True, order=True)
class Proof:
    """One test: the name of its file, and what it says behind the number."""

    file: str
    sentence: str


Proofs = dict[int, list[Proof]]


def sections(text: str) -> list[Section]:
    """Return the case list of a TOML text."""
    return [
        Section(
            letter=one["letter"],
            title=one["title"],
            must=frozenset(one["must"]),
            holds={int(number): holds for number, holds in one["holds"].items()},
            open={
                number: group["why"]
                for group in one.get("open", ())
                for number in group["cases"]
            },
        )
        for one in tomllib.loads(text)["section"]
    ]


def named(source: str) -> Iterator[tuple[int, str]]:
    """Yield (number, sentence) for each number in the name of each test of a source."""
    for found in _TEST.finditer(source):
        for number in found[1].split("_")[1:]:
            yield int(number), found[2].replace("_", " ")


def in_tests() -> Proofs:
    """Return the tests by the numbers in their names, sorted."""
    proofs: Proofs = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for number, sentence in named(path.read_text(encoding="utf-8")):
            proofs[number].append(Proof(path.name, sentence))
    return {number: sorted(found) for number, found in proofs.items()}


def faults(listed: Iterable[Section], proofs: Proofs) -> list[str]:
    """Return what is not in order between the list and the tests, one sentence each."""
    cases = list(listed)
    holds = {number for section in cases for number in section.holds}
    found = [
        f"case {number} is not on the list: {proofs[number][0]}"
        for number in sorted(proofs.keys() - holds)
    ]
    for section in cases:
        for number in sorted(section.must | section.open.keys()):
            if number not in section.holds:
                found.append(f"case {number} does not say what must hold")
        for number in section.holds:
            is_open = number in section.open
            if is_open and number in proofs:
                found.append(f"case {number} has a test now: take its reason out")
            if not is_open and number not in proofs:
                found.append(f"case {number} has neither a test nor a reason")
    return found


def rendered(listed: Iterable[Section], proofs: Proofs) -> str:
    """Return docs/cases.md."""
    parts = [_HEAD]
    for section in listed:
        parts.append(f"\n## {section.letter}. {section.title}\n\n")
        parts.append("| case | what must hold | tests |\n|---|---|---|\n")
        for number, holds in section.holds.items():
            shown = f"**{number}**" if number in section.must else str(number)
            tests = _tests(proofs.get(number, ()))
            why = tests or f"none: {section.open[number]}"
            parts.append(f"| {shown} | {holds} | {why} |\n")
    return "".join(parts)


def _tests(proofs: Iterable[Proof]) -> str:
    by_file = groupby(proofs, key=lambda proof: proof.file)
    return "; ".join(
        f"`{file}`: " + ", ".join(f"*{proof.sentence}*" for proof in group)
        for file, group in by_file
    )


if __name__ == "__main__":
    cases, proofs = sections(LIST.read_text(encoding="utf-8")), in_tests()
    if wrong := faults(cases, proofs):
        raise SystemExit("\n".join(wrong))
    INDEX.write_text(rendered(cases, proofs), encoding="utf-8")
