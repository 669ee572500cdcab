"""The fuzz benchmark's parts: its damage, its account. The jobs themselves run in the benchmark alone."""

import random
from collections import Counter
from pathlib import Path

import av
import pytest

from benchmarks.fuzz import CONTAINERS, MUTATIONS, Mutation, Outcome, sources, write_damaged
from benchmarks.processes import Watched
from tests.support.bad_corpus import write_sound, write_video

COST = Watched(1.0, 1.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "clip.mp4", frames=48)
    write_sound(folder / "sound.mp4")
    return sources(folder, folder / "sources")


def test_a_clip_becomes_a_video_of_two_seconds_in_every_container_that_takes_it(made: list[Path]) -> None:
    assert [path.suffix for path in made] == [
        suffix for suffix in CONTAINERS if suffix != ".avi"
    ]  # no H.264 as MP4 has
    for path in made:
        with av.open(str(path)) as container:
            assert 24 <= sum(1 for _ in container.decode(video=0)) <= 28  # reordered ones come with it


def test_a_folder_without_videos_is_named(tmp_path: Path) -> None:
    write_sound(tmp_path / "sound.mp4")
    with pytest.raises(ValueError, match="holds no video"):
        sources(tmp_path, tmp_path / "sources")


def test_the_damage_comes_from_the_seed_alone(made: list[Path], tmp_path: Path) -> None:
    written = [write_damaged(made, tmp_path / str(n), 14, seed) for n, seed in enumerate((3, 3, 4))]
    first, again, other = [[path.read_bytes() for path in files] for files in written]
    assert first == again != other
    assert first[14:] == [path.read_bytes() for path in made]


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_every_kind_of_damage_changes_a_file(made: list[Path], mutate: Mutation) -> None:
    content, other = made[0].read_bytes(), made[1].read_bytes()
    assert sum(mutate(random.Random(seed), content, other) != content for seed in range(20)) >= 18


def test_a_lost_file_and_a_left_one_are_told() -> None:
    assert Outcome(3, 2, Counter(truncated=1), COST, ()).holds
    assert not Outcome(3, 1, Counter(truncated=1), COST, ()).holds
    assert not Outcome(3, 2, Counter(truncated=1), COST, ("x.partial is left",)).holds
