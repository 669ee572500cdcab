"""Where every file of a release went."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.progress import duration
from pipelines.release.inputs import write_private
from pipelines.release.work import Outcome
from stprivacy.storage import is_remote, write_whole


@dataclass(frozen=True)
class ReleaseLedger:
    """Files in, and of each that is not out, why; `seconds` and `frames` (of the sources) are of this call alone."""

    files_in: int
    done_before: int
    failures: tuple[Outcome, ...]
    seconds: float
    frames: int

    @property
    def released(self) -> int:
        """Videos that are out, those of earlier calls included."""
        return self.files_in - len(self.failures)

    def __str__(self) -> str:
        lines = [f"{self.files_in} files in = {self.released} released + {len(self.failures)} failed"]
        if self.done_before:
            lines.append(f"  {self.done_before} of them were done before")
        reasons = Counter(failure.error for failure in self.failures)
        width = max(map(len, reasons), default=0)
        lines += [f"  {reason:{width}}  {count}" for reason, count in reasons.most_common()]
        lines += [f"  {failure.shown}: {failure.error}: {failure.message}" for failure in self.failures]
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
    named = [asdict(failure) for failure in failures]
    text = json.dumps(named, indent=1, ensure_ascii=False) + "\n"
    if is_remote(path):
        write_whole(path, text.encode())
    else:
        write_private(path, text)
