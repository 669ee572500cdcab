"""The phases' context in a worker: torch.distributed for the group, files of the run for the outside."""

import json
import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipelines.runs.folder import MESSAGES, METRICS, PROGRESS, check_claim, interval_seconds, write_json
from stprivacy.storage import append_line, write_whole

HEARTBEAT_SECONDS = 0.5
RATE_WINDOW_SECONDS = 30.0


class RayTrainContext:
    """One worker of a group that Ray Train, or another launcher, has started; its process group is up."""

    def __init__(self, folder: Path, launch: str, rank: int, world_size: int, device: torch.device) -> None:
        self.folder, self.launch = folder, launch
        self.rank, self.world_size, self.device = rank, world_size, device
        self._phase = ""
        self._clips = 0
        self._resumed: dict[str, int] = {}
        self._samples: deque[tuple[float, int]] = deque()
        self._last_heartbeat = 0.0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module on this worker's device, in DDP where there are several workers and something to train."""
        module = module.to(self.device)
        if self.world_size == 1 or not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        # find_unused_parameters: DDP would otherwise rearrange its buckets after the first step, so that a resumed run
        # adds up three or more workers' gradients in another order than the undisturbed one.
        # broadcast_buffers: the loop does that, at a point where no worker is within an accumulation.
        return DistributedDataParallel(
            module,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            broadcast_buffers=False,
            find_unused_parameters=True,
        )

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise sum over the workers; the argument stays as it is."""
        if self.world_size == 1:
            return values
        total = values.detach().to(self.device, copy=True).contiguous()
        dist.all_reduce(total)
        return total.to(values.device)

    def gather(self, rows: Tensor) -> list[Tensor]:
        """Every worker's rows in rank order; the number of rows may differ, all other sizes may not."""
        if self.world_size == 1:
            return [rows]
        own = rows.detach().to(self.device).contiguous()
        counts = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.world_size)]
        dist.all_gather(counts, torch.tensor([len(own)], device=self.device))
        sizes = [int(count) for count in counts]
        padded = own.new_zeros((max(sizes), *own.shape[1:]))
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return [part[:size].to(rows.device) for part, size in zip(parts, sizes, strict=True)]

    def rewind(self, phase: str, step: int) -> None:
        """Drop the phase's lines after `step` from the history, and damaged ones, which are reported.

        Call it on every rank, after loading a checkpoint, or with 0 where there is none.

        Raises: ValueError: the workers have loaded different checkpoints.
        """
        steps = [int(rows) for rows in self.gather(torch.tensor([step]))]
        if len(set(steps)) > 1:
            raise ValueError(f"workers see different checkpoints in {self.folder} ({steps}): is it on shared storage?")
        self._resumed[phase] = step
        if self.rank == 0:
            self._drop_after(phase, step)

    def progress(self, phase: str, step: int, total_steps: int, clips: int) -> None:
        """Write RUN/progress.json, twice a second at most (more rarely to an object store) and at the phase's end.

        Raises: PhaseError: another launch has taken the run over.
        """
        if self.rank != 0:
            return
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._clips = phase, 0
            self._samples.clear()
        self._clips += clips
        self._samples.append((now, self._clips))
        if now - self._last_heartbeat < interval_seconds(self.folder, HEARTBEAT_SECONDS) and step < total_steps:
            return
        self._last_heartbeat = now
        check_claim(self.folder, self.launch)
        write_json(self.folder / PROGRESS, {
            "phase": phase, "step": step, "total_steps": total_steps, "resumed_at": self._resumed.get(phase, 0),
            "clips_per_second": self._rate(now),
        })  # fmt: skip

    def report(self, phase: str, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line to RUN/metrics.jsonl."""
        if self.rank != 0:
            return
        append_line(self.folder / METRICS, json.dumps({"phase": phase, "step": step, **metrics}))

    def tell(self, message: str) -> None:
        """Tell the user one sentence: a line in RUN/messages.log, which the driver shows."""
        if self.rank == 0:
            append_line(self.folder / MESSAGES, message.replace("\n", " "))

    def _rate(self, now: float) -> float:
        while len(self._samples) > 2 and now - self._samples[0][0] > RATE_WINDOW_SECONDS:
            self._samples.popleft()
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def _drop_after(self, phase: str, step: int) -> None:
        history = self.folder / METRICS
        if not history.exists():
            return
        # Without its newline, the last line was cut off by a kill.
        lines = history.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        kept = []
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                of, at = str(entry["phase"]), int(entry["step"])
            except (ValueError, KeyError, TypeError):
                self.tell(f"{history} line {number} is damaged and was left out")
                continue
            if of and (of != phase or at <= step):
                kept.append(line)
        write_whole(history, "".join(f"{line}\n" for line in kept).encode())


def configure_process(device: torch.device, threads: int) -> None:
    """Have this process compute on the device, with so many threads, and the same bits every time."""
    torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # NCCL's barrier takes the current device
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
