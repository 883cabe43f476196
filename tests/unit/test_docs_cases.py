"""The case list, the names of the tests and docs/cases.md say the same."""

from tools.case_index import (
    INDEX,
    LIST,
    Proof,
    Section,
    faults,
    in_tests,
    named,
    rendered,
    sections,
)

LISTED = sections(LIST.read_text(encoding="utf-8"))


def a_section(**facts: object) -> Section:
    known = {"must": frozenset(), "holds": {1: "it holds"}, "open": {}}
    return Section(letter="A", title="a", **(known | facts))


def test_each_case_has_a_test_or_says_why_not_and_no_test_an_unknown_number() -> None:
    assert faults(LISTED, in_tests()) == []


def test_the_index_is_what_the_list_and_the_tests_say() -> None:
    written = INDEX.read_text(encoding="utf-8")
    assert written == rendered(LISTED, in_tests()), "run `make cases`"


def test_the_numbers_are_in_order_and_each_stands_once() -> None:
    numbers = [number for section in LISTED for number in section.holds]
    assert numbers == list(range(1, 178))


def test_a_number_without_a_test_and_a_test_without_a_number_are_faults() -> None:
    proofs = {1: [Proof("test_a.py", "it holds")]}
    assert faults([a_section()], {}) == ["case 1 has neither a test nor a reason"]
    assert faults([a_section()], proofs) == []
    assert faults([a_section(open={1: "later"})], {}) == []
    assert "take its reason out" in faults([a_section(open={1: "later"})], proofs)[0]
    assert "not on the list" in faults([a_section()], proofs | {2: proofs[1]})[0]
    assert "what must hold" in faults([a_section(must=frozenset((3,)))], proofs)[0]


def test_names_are_read_with_one_number_or_several() -> None:
    source = (
        "def test_case_007_one(x):\n    ...\nasync def test_case_011_013_two() -> None:\n"
        "def helper_case_014_no():\n    def test_case_015_inner(): ...\n"
    )
    assert list(named(source)) == [(7, "one"), (11, "two"), (13, "two")]
