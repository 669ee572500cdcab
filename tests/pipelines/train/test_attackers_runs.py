"""Evaluations with all attackers: what they report, what resumes, what two workers share, what is refused."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from pipelines.cli.phases import _base, _checked, _parse
from pipelines.data.reader import ParquetClips, is_for_validation
from pipelines.progress import Progress
from pipelines.runs.config import EvaluateRun, make_request
from pipelines.runs.protocols import check_protocol
from pipelines.train.launch import launch
from stprivacy.attackers import ATTACKERS
from stprivacy.config import AugmentConfig, TestViewsConfig
from stprivacy.phases.local import LocalContext
from tests.support.launch_fixtures import RESUMING, TINY, later, plan_resume
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import CLIP

ALL = tuple(ATTACKERS)
SHARE = 0.4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 training and 7 test videos: uneven shares for two workers."""
    return write_tiny_dataset(tmp_path_factory.mktemp("data"), videos=22, test_videos=7)


def evaluation(data: Path, **settings: Any) -> EvaluateRun:
    chosen: dict[str, Any] = {"attackers": ALL, "validation_share": SHARE} | settings
    return later(
        TINY,
        EvaluateRun,
        data=str(data),
        anonymizer="raw",
        deploy_keep_ratio=1.0,
        train=replace(TINY.train, epochs=2, checkpoint_every_steps=2, keep_checkpoints=9),
        augment=AugmentConfig(flip_probability=0.0),
        views=TestViewsConfig(clips=2, crops=1),
        **chosen,
    )


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], LocalContext]:
    """The undisturbed run: its folder, its result, and what it told."""
    folder, context = tmp_path_factory.mktemp("whole"), LocalContext()
    torch.manual_seed(0)
    return folder, do_run(evaluation(data), folder, context), context


def test_every_attacker_is_listed_and_the_chosen_ones_give_the_tables_figures(
    whole: tuple[Path, dict[str, Any], LocalContext],
) -> None:
    _, scores, _ = whole
    for name in ALL:
        for key in ("privacy_cmap", "privacy_f1", "privacy_auc", "privacy_balanced_accuracy", "privacy_ap_face"):
            assert scores[f"{key}_{name}_low"] <= scores[f"{key}_{name}"] + 1e-9
        assert 0 <= scores[f"validation_privacy_cmap_{name}"] <= 100
    choice = dict(part.split("=") for part in scores["attacker"].split(", "))
    assert list(choice) == ["skin_color", "face", "gender", "nudity", "relationship"]
    for attribute, name in choice.items():
        assert scores[f"privacy_ap_{attribute}"] == scores[f"privacy_ap_{attribute}_{name}"]
    mean = sum(scores[f"privacy_ap_{attribute}"] for attribute in choice) / 5
    assert scores["privacy_cmap"] == pytest.approx(mean)
    assert scores["reconstruction_psnr_low"] <= scores["reconstruction_psnr"] <= scores["reconstruction_psnr_high"]
    assert 0 < scores["reconstruction_ssim"] <= 1


def test_one_attacker_trains_twice_as_long_as_all_others(whole: tuple[Path, dict[str, Any], LocalContext]) -> None:
    _, _, context = whole
    reports = [set(terms) for _, _, terms in context.reports]
    first, second = reports[: len(reports) // 2], reports[len(reports) // 2 :]
    assert len(first) == len(second) == 2  # epochs
    assert all({"loss_action", "loss_standard", "loss_large"} <= terms for terms in first)
    assert all({term for term in terms if "loss" in term} == {"loss_large"} for terms in second)


@pytest.mark.parametrize("left", [1, 3])
def test_an_evaluation_killed_at_any_checkpoint_ends_as_the_undisturbed_one(
    data: Path, tmp_path: Path, whole: tuple[Path, dict[str, Any], LocalContext], left: int
) -> None:
    folder, scores, _ = whole
    shutil.copytree(folder, tmp_path / "run")
    checkpoints = sorted(path for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit())
    # Some attackers have to go on in the one, none but the one that trains longer in the other.
    assert len(checkpoints) > left
    for path in checkpoints[left:]:
        shutil.rmtree(path)
    assert do_run(evaluation(data), tmp_path / "run") == scores


def test_an_attackers_figures_do_not_depend_on_which_others_there_are(
    data: Path, tmp_path: Path, whole: tuple[Path, dict[str, Any], LocalContext]
) -> None:
    alone = do_run(evaluation(data, attackers=("pooled", "cnn3d")), tmp_path)
    for key in ("privacy_cmap_pooled", "privacy_cmap_cnn3d", "privacy_auc_cnn3d_high", "action_top1"):
        assert alone[key] == pytest.approx(whole[1][key], rel=1e-5)


@pytest.mark.slow
def test_two_workers_give_every_video_once_and_resume_bit_for_bit(
    data: Path, tmp_path: Path, ray_cluster: None
) -> None:
    run = evaluation(data, attackers=("cnn3d", "pooled", "reconstruction"))

    plan_resume(tmp_path / "resumed", tmp_path / "run", 2)
    with Progress(quiet=True) as progress:
        requests = [make_request(tmp_path / name, run, name) for name in ("run", "resumed")]
        scores, resumed = launch(requests, num_workers=2, progress=progress, executor=RESUMING)
    assert resumed == scores
    single = do_run(run, tmp_path / "single")
    for key, value in single.items():
        if key.startswith("floor_") or key == "validation_videos":
            assert scores[key] == value


def test_validation_videos_are_chosen_by_their_ids_and_not_trained_on(data: Path) -> None:
    for seed, world_size in ((0, 1), (1, 1), (0, 2)):
        parts = [
            ParquetClips(data, CLIP, seed=seed, rank=rank, world_size=world_size, validation_share=SHARE)
            for rank in range(world_size)
        ]
        held_out = [row.video_id for row in parts[0].index.split("train") if is_for_validation(row.video_id, SHARE)]
        assert 0 < len(held_out) == parts[0].test_size("validation") == 22 - parts[0].train_size()
        assert not {row.video_id for row in parts[0].train} & set(held_out)
        seen = [
            int(i) for part in parts for test in part.test_batches(2, "validation") for i in test.batch.clip_index[::15]
        ]
        assert sorted(seen) == list(range(len(held_out)))
    assert ParquetClips(data, CLIP).train_size() == 22
    assert ParquetClips(data, CLIP).test_size("validation") == 0


def test_about_the_share_of_ids_is_for_validation_and_a_larger_share_holds_a_smaller_one() -> None:
    ids = [f"wave/{i:05d}.mp4" for i in range(4000)]
    small, large = ({x for x in ids if is_for_validation(x, share)} for share in (0.1, 0.25))
    assert small < large
    assert (len(small) / 4000, len(large) / 4000) == pytest.approx((0.1, 0.25), abs=0.02)


def test_a_share_without_a_video_is_refused(data: Path) -> None:
    with pytest.raises(ValueError, match=r"no video for validation: none of 22 training videos is in a share of 1e-09"):
        ParquetClips(data, CLIP, validation_share=1e-9)
    with pytest.raises(ValueError, match=r"validation_share must be in \[0, 1\), got 1"):
        evaluation(data, validation_share=1.0)


def test_an_evaluation_as_released_reads_what_h264_leaves(data: Path, tmp_path: Path) -> None:
    short = {"attackers": ("mask-blind", "pooled"), "validation_share": 0.0}
    own = do_run(evaluation(data, **short), tmp_path / "own")
    best = do_run(evaluation(data, as_released=True, released_quality=0, **short), tmp_path / "best")
    worst = do_run(evaluation(data, as_released=True, released_quality=51, **short), tmp_path / "worst")
    again = do_run(evaluation(data, as_released=True, released_quality=51, **short), tmp_path / "again")
    assert worst == again
    assert (own["as_released"], worst["as_released"]) == ("no", "h264 crf 51")
    assert len({scores["privacy_auc_pooled"] for scores in (own, best, worst)}) > 1
    with pytest.raises(ValueError, match=r"released_quality must be in 0\.\.51"):
        evaluation(data, released_quality=60)


def test_all_names_every_attacker_on_the_command_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--anonymizer", "raw", "--validation-share", ".2", "--as-released", "--attackers", "all"]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--data", str(data), "--out", str(tmp_path), *options])
    run = cast(EvaluateRun, _checked(_parse(_base("evaluate"), None).run))
    assert (run.attackers, run.validation_share, run.as_released, run.released_quality) == (ALL, 0.2, True, 23)
    monkeypatch.setattr(sys, "argv", [*sys.argv[:-1], "standard", "oracle"])
    with pytest.raises(ValueError, match=r"unknown: oracle; there are: standard, mask-blind"):
        _parse(_base("evaluate"), None)


def test_frame_level_keeps_its_own_attackers(data: Path) -> None:
    with pytest.raises(ValueError, match="frame-level has attackers of its own, 2D forms of standard and whitened"):
        check_protocol(evaluation(data, protocol="frame-level", action_data=str(data)))
