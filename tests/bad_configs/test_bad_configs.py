"""Each file here must be refused for the reason in its first line."""

from pathlib import Path

import pytest

from soboo_mta.settings import SettingsError, load

FILES = sorted((Path(__file__).parent / "files").glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_case_135_a_bad_file_is_refused_for_the_reason_it_states(file: Path) -> None:
    first = file.read_text().splitlines()[0]
    reason = first.removeprefix("# refused: ")
    assert reason != first
    with pytest.raises(SettingsError) as refusal:
        load(file)
    assert reason in str(refusal.value)
    assert len(str(refusal.value).splitlines()) <= 3, "one fault, one sentence"


def test_a_fault_names_the_file() -> None:
    with pytest.raises(SettingsError, match=r"open_relay\.toml"):
        load(FILES[0].parent / "open_relay.toml")


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--config FILE or SOBOO_CONFIG"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "name", ["source_of_two_kinds", "resolver_by_name", "unknown_key_in_a_list"]
)
def test_a_fault_in_the_only_entry_is_told_alone(name: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load(FILES[0].parent / f"{name}.toml")
    assert len(str(refusal.value).splitlines()) == 2, "the file, and the fault"
