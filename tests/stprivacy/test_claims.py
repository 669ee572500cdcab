"""What an output folder was begun for: one note, and one error for whatever does not agree with it."""

import json
from pathlib import Path

import pytest

from stprivacy.claims import Claim

SETTINGS = {"seed": 0, "train": {"epochs": 3, "batch_size": 6}}


def claim(**changes: object) -> Claim:
    return Claim("note.json", SETTINGS | changes, "a run")


def test_a_free_folder_is_noted_once_and_found_begun_after_that(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert not claim().check(folder)
    assert not folder.exists()
    claim().make(folder)
    written = (folder / "note.json").stat().st_mtime_ns
    claim().make(folder)
    assert claim().check(folder)
    assert (folder / "note.json").stat().st_mtime_ns == written
    assert json.loads((folder / "note.json").read_text()) == SETTINGS


def test_every_difference_is_named_with_both_values_and_changes_nothing(tmp_path: Path) -> None:
    claim().make(tmp_path)
    before = (tmp_path / "note.json").read_bytes()
    other = claim(seed=1, train={"epochs": 4, "batch_size": 6})
    with pytest.raises(ValueError, match=r"holds a run with other settings \(seed was 0, now 1, train\.epochs was 3,"):
        other.make(tmp_path)
    assert (tmp_path / "note.json").read_bytes() == before


def test_a_setting_that_an_older_note_lacks_has_its_default_and_obsolete_ones_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "note.json").write_text(json.dumps(SETTINGS | {"gone": 5}))
    now = {**SETTINGS, "train": {**SETTINGS["train"], "amp": False}}  # type: ignore[dict-item]
    assert Claim("note.json", now, "a run", defaults={"train": {"amp": False}}, obsolete=("gone",)).check(tmp_path)
    with pytest.raises(ValueError, match=r"\(gone was 5, now unset, train\.amp was unset, now no\)"):
        Claim("note.json", {**now, "train": {**now["train"], "amp": "no"}}, "a run").check(tmp_path)  # type: ignore[dict-item]


def test_another_format_is_said_alone(tmp_path: Path) -> None:
    claim(format_version=1).make(tmp_path)
    with pytest.raises(ValueError, match=r"was begun in format 1, this program writes 2: choose another --out$"):
        claim(format_version=2, seed=9).check(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": ' * 100_000])
def test_a_damaged_note_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "note.json").write_text(content)
    with pytest.raises(ValueError, match=r"note\.json is damaged .*restore it from a copy, or choose another --out"):
        claim().check(tmp_path)


def test_what_lies_in_a_folder_without_a_note_decides_whether_it_is_taken(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    picky = Claim("note.json", SETTINGS, "a release", option="--output", is_ours=lambda name: name == ".lock")
    with pytest.raises(ValueError, match="is not empty and does not hold a release: give a new or empty folder as --o"):
        picky.make(tmp_path)
    with pytest.raises(ValueError, match="does not hold a release"):
        picky.check(tmp_path / "letter.txt")
    (tmp_path / "letter.txt").rename(tmp_path / ".lock")
    assert not picky.check(tmp_path)
