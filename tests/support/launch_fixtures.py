"""Runs for launch tests, toy and real but tiny ones, and faults that strike any of them at a chosen step."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
from torch import nn

from pipelines.runs.config import InitLosses, InitRun, Run, RunBase
from pipelines.train.worker import Executor, resolve
from stprivacy.checkpoint import CheckpointStore, weights_digest
from stprivacy.config import OptimConfig, PhaseConfig
from stprivacy.noise import ClipNoise
from tests.support.tiny import MODEL, RECOGNIZER

TOY_CONFIG = {"steps": 10, "checkpoint_every": 3, "seed": 5, "data": {"clips": 24, "values": 7}}
TOY = "tests.support.launch_fixtures:toy_with_faults"
PHASES = "tests.support.launch_fixtures:phases_with_faults"
AGREEING = "tests.support.launch_fixtures:phases_that_agree"
RESUMING = "tests.support.launch_fixtures:phases_that_resume"
AGREEING_RESUMING = "tests.support.launch_fixtures:agreeing_phases_that_resume"
RESUME = "resume.json"
MEETING = "tests.support.launch_fixtures:toy_that_meets"

TINY = InitRun(
    recipe="tiny",
    seed=7,
    model=MODEL,
    losses=InitLosses(lambda_sparsification=10.0, lambda_reconstruction=1.0),
    train=PhaseConfig(
        epochs=3, batch_size=6, accumulate_steps=2, checkpoint_every_steps=3, optim=OptimConfig(learning_rate=0.1)
    ),
    prefetch_batches=2,
)


def later(run: RunBase, phase: type[Run], **settings: Any) -> Run:
    """A later phase with the settings of `run`, on tiny recognizers."""
    own = {} if hasattr(run, "recognizer") else {"recognizer": RECOGNIZER}
    return run.to(phase, **own | settings)


def train_toy(config: dict[str, Any], folder: Path, context: Any, store: CheckpointStore) -> Mapping[str, Any]:
    """DDP on random data with noise per clip, AdamW, checkpoints: a phase in small."""
    generator = torch.Generator().manual_seed(config["seed"])
    data = torch.randn(config["data"]["clips"], config["data"]["values"], generator=generator)
    torch.manual_seed(config["seed"])
    model = nn.Sequential(nn.Linear(7, 16), nn.GELU(), nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    checkpoint = store.latest()
    done = checkpoint.number if checkpoint else 0
    if checkpoint:
        model.load_state_dict(checkpoint.model)
        optimizer.load_state_dict(checkpoint.state["optimizer"])
    context.rewind("toy", done)
    wrapped = context.wrap(model)
    for step in range(done, config["steps"]):
        clips = [(6 * step + offset) % len(data) for offset in range(6)][context.rank :: context.world_size]
        noise = ClipNoise(config["seed"], step, clips).uniform("toy", len(clips), 7)
        loss = wrapped(data[clips] + noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        context.report("toy", step + 1, {"loss": float(context.sum(loss)) / context.world_size})
        context.progress("toy", step + 1, config["steps"], 6)
        if (step + 1) % config["checkpoint_every"] == 0 or step + 1 == config["steps"]:
            store.save(step + 1, model.state_dict(), {"optimizer": optimizer.state_dict()})
    rows = context.gather(torch.full((context.rank + 1, 2), context.rank))
    assert [row.tolist() for row in rows] == [[[rank, rank]] * (rank + 1) for rank in range(context.world_size)]
    digests = context.gather(torch.tensor(list(bytes.fromhex(weights_digest(model.state_dict())))))
    assert all(torch.equal(digest, digests[0]) for digest in digests)
    return {"digest": weights_digest(model.state_dict()), "threads": torch.get_num_threads()}


def toy_that_meets(config: dict[str, Any], folder: Path, context: Any, store: CheckpointStore) -> Mapping[str, Any]:
    """The toy, after the run in the folder config["other"], if there is one, has begun, too."""
    (folder / "begun").touch()
    deadline = time.monotonic() + 60
    while "other" in config and not (Path(config["other"]) / "begun").exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{config['other']} has not begun")
        time.sleep(0.05)
    return toy_with_faults(config, folder, context, store)


def die_always(config: dict[str, Any], folder: Path, context: Any, store: CheckpointStore) -> Mapping[str, Any]:
    """Ends as a process does that the system kills."""
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def plan_fault(folder: Path, kind: str, rank: int, step: int) -> None:
    """Have `kind` happen once in a run when `step` is done.

    `kill` (-9), `hold` (until killed from outside), `pause` (until RUN/go-on is there) or `raise` (ValueError). Of a
    worker whose peer is killed at that step: `outlive`, which is inside a step when Ray dismantles the group, or
    `stumble`, which fails before that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"fault-{rank}.json").write_text(json.dumps({"kind": kind, "step": step}))


def attempts(folder: Path) -> list[int]:
    """The ranks that have begun the run, sorted, once for each time."""
    return sorted(int(line) for line in (folder / "attempts").read_text().splitlines())


class FaultyContext:
    """A context that lets the planned fault strike when its step is done."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._plan = inner.folder / f"fault-{inner.rank}.json"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def progress(self, phase: str, step: int, total_steps: int, clips: int) -> None:
        self._inner.progress(phase, step, total_steps, clips)
        if not self._plan.exists() or json.loads(self._plan.read_text())["step"] != step:
            return
        kind = json.loads(self._plan.read_text())["kind"]
        done = self._plan.with_suffix(".done")
        done.write_text(str(os.getpid()))
        self._plan.unlink()
        _FAULTS[kind](self._inner, step)


def _kill(context: Any, step: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raise(context: Any, step: int) -> None:
    raise ValueError(f"the loss is not finite at step {step}")


def _hold(context: Any, step: int) -> None:
    while True:
        time.sleep(1)


def _pause(context: Any, step: int) -> None:
    while not (context.folder / "go-on").exists():
        time.sleep(0.05)


def _outlive(context: Any, step: int) -> None:
    while dist.is_initialized():
        time.sleep(0.001)
    context.sum(torch.zeros(1))


def _stumble(context: Any, step: int) -> None:
    killed = context.folder / f"fault-{1 - context.rank}.done"
    while not killed.exists() or not killed.read_text():
        time.sleep(0.001)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(killed.read_text())).wait(timeout=60)
    raise KeyError("what a dead peer left")


_FAULTS = {"kill": _kill, "raise": _raise, "hold": _hold, "pause": _pause, "outlive": _outlive, "stumble": _stumble}


def with_faults(inner: str) -> Executor:
    """The executor named `inner`, with planned faults; each rank's attempts are lines in RUN/attempts."""

    def execute(config: dict[str, Any], folder: Path, context: Any, store: CheckpointStore) -> Mapping[str, Any]:
        with open(folder / "attempts", "a") as file:
            file.write(f"{context.rank}\n")
        run: Callable[..., Mapping[str, Any]] = resolve(inner)
        return run(config, folder, FaultyContext(context), store)

    return execute


def plan_resume(folder: Path, source: Path, step: int) -> None:
    """Have a resuming executor begin a run where another, done before it by the same workers, was after a step."""
    folder.mkdir(parents=True)
    (folder / RESUME).write_text(json.dumps({"source": str(source), "step": step}))


def resuming(inner: str) -> Executor:
    """The executor named `inner`, which goes on where `plan_resume` says."""

    def execute(config: dict[str, Any], folder: Path, context: Any, store: CheckpointStore) -> Mapping[str, Any]:
        if (folder / RESUME).exists():
            plan = json.loads((folder / RESUME).read_text())
            if context.rank == 0:
                shutil.copy(Path(plan["source"], "metrics.jsonl"), folder)
                for checkpoint in Path(plan["source"], "checkpoints").glob("[0-9]*"):
                    if int(checkpoint.name) <= plan["step"]:
                        shutil.copytree(checkpoint, folder / "checkpoints" / checkpoint.name)
            context.sum(torch.zeros(1))  # the others wait
            newest = store.latest()
            assert newest
            assert newest.number == plan["step"]
        run: Executor = resolve(inner)
        return run(config, folder, context, store)

    return execute


toy_with_faults = with_faults("tests.support.launch_fixtures:train_toy")
phases_with_faults = with_faults("pipelines.train.execute:execute")
phases_that_resume = resuming("pipelines.train.execute:execute")
agreeing_phases_that_resume = resuming(AGREEING)


def phases_that_agree(config: dict[str, Any], folder: Path, context: Any, store: CheckpointStore) -> Mapping[str, Any]:
    """The phases, on workers that have the same adversaries, weights and buffers, whenever those are saved."""
    save = store.save

    def compare_and_save(number: int, model: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        adversaries = {name: x for name, x in model.items() if name.startswith("privacy_recognizer")}
        digests = context.gather(torch.tensor(list(bytes.fromhex(weights_digest(adversaries)))))
        assert adversaries
        assert all(torch.equal(digest, digests[0]) for digest in digests)
        save(number, model, state)

    store.save = compare_and_save  # type: ignore[method-assign]
    run: Executor = resolve("pipelines.train.execute:execute")
    return run(config, folder, context, store)
