"""Phase 3 step by step: what is fitted, who trains how long, and what a prediction is the mean of."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipelines.data.reader import ParquetClips
from stprivacy.anonymizers import STPrivacy
from stprivacy.anonymizers.identity import whole
from stprivacy.attackers.transformer import Whitened
from stprivacy.checkpoint import CheckpointStore
from stprivacy.config import AugmentConfig, PhaseConfig, TestViewsConfig
from stprivacy.models.frame_recognizer import FrameRecognizer
from stprivacy.models.recognizer import Recognizer
from stprivacy.models.whitening import WhitenedEmbedding
from stprivacy.phases.evaluate import ACTION, EvaluationPhase, evaluate
from stprivacy.phases.evaluation.predictions import Readers
from stprivacy.phases.learner import Learner
from stprivacy.phases.local import LocalContext
from stprivacy.phases.loop import Training
from stprivacy.views import evaluation_views, view_frames
from tests.support.shard_fixtures import write_tiny_dataset
from tests.support.tiny import CLIP, MODEL, RECOGNIZER

VIEWS = TestViewsConfig(clips=3, crops=2)
SETTINGS = PhaseConfig(epochs=1, batch_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("data"), 10, 8)


@pytest.fixture
def data(folder: Path) -> ParquetClips:
    return ParquetClips(folder, CLIP, AugmentConfig(), VIEWS)


def reader(model: nn.Module, head: nn.Linear) -> nn.Module:
    nn.init.normal_(head.weight, std=2.0)  # from zero, it would say the same of every view
    return model


def recognizer(outputs: int) -> Recognizer:
    model = Recognizer(RECOGNIZER, CLIP, outputs)
    reader(model, model.head)
    return model


def training(data: ParquetClips, folder: Path, settings: PhaseConfig = SETTINGS) -> Training:
    store = CheckpointStore(folder, keep=2, rank=0, warn=pytest.fail)
    return Training(data, settings, LocalContext(), store, seed=0)


def readers(action: nn.Module, attacker: nn.Module) -> Readers:
    learners = [Learner(name, module, SETTINGS, LocalContext()) for name, module in ((ACTION, action), ("a", attacker))]
    return Readers(learners[0], learners[1:], lambda batch: whole(batch.video, CLIP))


def views(data: ParquetClips, video: int) -> Tensor:
    return evaluation_views(data.index.frames(data.test[video]), CLIP, VIEWS)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_videos_prediction_is_the_mean_over_its_views_of_their_probabilities(
    tmp_path: Path, multi_label: bool
) -> None:
    folder = write_tiny_dataset(tmp_path, 2, 5, multi_label=multi_label)
    data = ParquetClips(folder, CLIP, AugmentConfig(), VIEWS)
    action, attacker = recognizer(2), recognizer(5)
    found = readers(action, attacker).predict(data, LocalContext(), batch_videos=2)
    assert found.video.tolist() == list(range(5))
    with torch.no_grad():
        for video in range(5):
            seen = action.eval()(views(data, video))
            expected = (seen.sigmoid() if multi_label else seen.softmax(-1)).mean(0)
            torch.testing.assert_close(found.action_probabilities[video], expected)
            read = attacker.eval()(views(data, video)).sigmoid().mean(0)
            torch.testing.assert_close(found.attacks["a"][video], read)
            assert bytes(found.privacy[video].int().tolist()) == data.test[video].privacy


def test_a_frames_prediction_is_the_mean_over_the_views_that_show_it(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path, 2, 2, frames=6, frame_labels=True)
    data = ParquetClips(folder, CLIP, AugmentConfig(), VIEWS, frame_labels=True)
    attacker = FrameRecognizer(RECOGNIZER, CLIP, 5)
    reader(attacker, attacker.recognizer.head)
    found = readers(recognizer(2), attacker).predict(data, LocalContext(), batch_videos=1)
    assert found.video.tolist() == [0] * 6 + [1] * 6
    shown = view_frames(6, CLIP, VIEWS)  # frames 0-3, 1-4 and 2-5, each in two crops
    with torch.no_grad():
        for video in range(2):
            of_views = attacker.eval()(views(data, video), torch.ones(6, 2, 4)).sigmoid()
            for frame in range(6):
                expected = of_views[shown == frame].mean(0)
                torch.testing.assert_close(found.attacks["a"][6 * video + frame], expected)


def test_whoever_trains_longer_trains_alone_at_the_end(data: ParquetClips, tmp_path: Path) -> None:
    names = (ACTION, "standard", "large")
    models = {name: recognizer(2 if name == ACTION else 5) for name in names}
    phase = EvaluationPhase("evaluate", STPrivacy(MODEL).eval(), 0.7, models, training(data, tmp_path))
    steps = dict.fromkeys(names, 0)
    for learner in phase.learners:

        def count(*_: object, name: str = learner.name) -> None:
            steps[name] += 1

        learner.optimizer.register_step_pre_hook(count)
    phase.train()
    assert steps == {ACTION: 3, "standard": 3, "large": 6}


def test_whitening_is_fitted_to_the_clips_of_an_epoch_and_once(folder: Path, tmp_path: Path) -> None:
    fine = replace(CLIP, patch_size=8)  # of 384 values a tubelet: a quarter of the eigenvectors
    source = ParquetClips(folder, fine)
    anonymizer = STPrivacy(replace(MODEL, clip=fine)).eval()

    def trained() -> WhitenedEmbedding:
        action, whitened = Recognizer(RECOGNIZER, fine, 2), Whitened(RECOGNIZER, fine, 5, 16)
        models = {ACTION: action, "whitened": whitened}
        EvaluationPhase("evaluate", anonymizer, 0.7, models, training(source, tmp_path)).train()
        return whitened.embedding

    expected = Whitened(RECOGNIZER, fine, 5, 16)
    moments = expected.statistics(torch.device("cpu"))
    for batch in source.train_batches(0, 0, SETTINGS.batch_size):
        with torch.no_grad():
            seen = anonymizer(batch.video, keep_ratio=0.7)
        moments.add(seen.video, seen.keep)
    expected.fit(moments)
    first, resumed = trained(), trained()
    torch.testing.assert_close(first.mean, expected.embedding.mean)
    torch.testing.assert_close(first.directions.abs(), expected.embedding.directions.abs(), rtol=1e-3, atol=1e-4)
    assert torch.equal(resumed.directions, first.directions)  # a resumed run does not fit again


def test_the_anonymizer_is_read_as_it_is_deployed(data: ParquetClips, tmp_path: Path) -> None:
    model = STPrivacy(replace(MODEL, drop_path=0.5)).train()
    evaluate(model, 0.7, recognizer(2), {"standard": recognizer(5)}, training(data, tmp_path))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
