"""docs/rfc.md and the code name the same sections in the same files."""

from tools.rfc_index import INDEX, RFCS, WHOLE, in_code, in_index, references


def test_every_section_the_code_names_is_listed_with_its_file() -> None:
    listed = in_index(INDEX.read_text(encoding="utf-8"))
    for reference, files in in_code().items():
        assert files <= listed.get(reference, set()), f"{reference}: run `make rfc`"


def test_every_listed_file_names_the_section() -> None:
    named = in_code()
    for reference, files in in_index(INDEX.read_text(encoding="utf-8")).items():
        assert files <= named.get(reference, set()), f"{reference}: run `make rfc`"


def test_every_rfc_the_code_names_has_a_title() -> None:
    assert {number for number, _ in in_code()} <= set(RFCS)


def test_references_are_found_however_they_are_written() -> None:
    text = (
        "RFC 5321 §4.1.1, §4.5.2: (RFC\n    # 6376 §3.7). RFC 7505, RFC 1035 §3 and §5."
    )
    assert list(references(text)) == [
        (5321, "4.1.1"),
        (5321, "4.5.2"),
        (6376, "3.7"),
        (7505, WHOLE),
        (1035, "3"),
        (1035, "5"),
    ]
