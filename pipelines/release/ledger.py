"""Where every file of a release went."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.release.inputs import passed_over
from pipelines.release.work import Outcome
from pipelines.text import duration, json_bytes, printable
from stprivacy.storage import write_whole

_MOST_NOTES = 20  # that are shown


@dataclass(frozen=True)
class ReleaseLedger:
    """Files in, and of each that is not out, why; `seconds` and `frames` (of the sources) are of this call alone.

    `noted` are videos that this call released with notes, `passed_over` counts by kind what is no file in.
    """

    files_in: int
    done_before: int
    failures: tuple[Outcome, ...]
    seconds: float
    frames: int
    noted: tuple[Outcome, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)

    @property
    def released(self) -> int:
        """Videos that are out, those of earlier calls included."""
        return self.files_in - len(self.failures)

    def __str__(self) -> str:
        lines = [f"{self.files_in} files in = {self.released} released + {len(self.failures)} failed"]
        if self.done_before:
            lines.append(f"  {self.done_before} of them were done before")
        if self.passed_over:
            lines.append(f"  passed over: {passed_over(self.passed_over)}")
        reasons = Counter(failure.error for failure in self.failures)
        width = max(map(len, reasons), default=0)
        lines += [f"  {reason:{width}}  {count}" for reason, count in reasons.most_common()]
        lines += [
            f"  {printable(failure.shown)}: {failure.error}: {printable(failure.message)}" for failure in self.failures
        ]
        noted = [f"  {printable(one.shown)}: released; {printable('; '.join(one.notes))}" for one in self.noted]
        lines += noted[:_MOST_NOTES]
        if len(noted) > _MOST_NOTES:
            lines.append(f"  and {len(noted) - _MOST_NOTES} more released with such notes")
        if self.frames:
            lines.append(
                f"{self.frames} source frames in {duration(self.seconds)}, {self.frames / self.seconds:.0f} a second"
            )
        return "\n".join(lines)


def write_failures(path: Path, failures: Sequence[Outcome]) -> None:
    """The failures as JSON, which their owner alone can read; no file where there are none."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    content = json_bytes([{name: getattr(one, name) for name in ("shown", "error", "message")} for one in failures])
    write_whole(path, content, private=True)
