"""Where every video went, as the end of an ingest says it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.data.decoder_process import flat
from pipelines.data.manifest import SPLITS, split_counts
from pipelines.data.records import Quarantine

_SHOWN = 3  # videos of each reason
_OPTIONS = {
    "too-large": "--max-pixels",
    "too-long": "--max-seconds",
    "too-many-streams": "--max-streams",
    "timed-out": "--seconds-per-video",
}


@dataclass(frozen=True)
class Ledger:
    """Where every video went: rows by split, for each official split, and quarantined videos by error code.

    Of the rows `with_boxes` have person boxes, known or looked for; `without_person` of these have none in any frame.
    `examples` are the first quarantined videos of each code, `notes` what the decoder says of rows: pairs of video and
    note. `repaired` are shards that were damaged, and how.
    """

    videos_in: int
    splits: tuple[dict[str, int], ...]
    reasons: dict[str, int] = field(default_factory=dict)
    with_boxes: int = 0
    without_person: int = 0
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict, compare=False)
    notes: Sequence[tuple[str, str]] = field(default=(), compare=False)
    repaired: Sequence[str] = field(default=(), compare=False)

    @property
    def rows(self) -> int:
        """Videos that became rows."""
        return sum(self.splits[0].values())

    @property
    def quarantined(self) -> int:
        """Videos that did not."""
        return sum(self.reasons.values())

    def __str__(self) -> str:
        lines = [f"{self.videos_in} videos in = {self.rows} rows + {self.quarantined} quarantined"]
        lines += [f"  split {number}: {split_counts(split)}" for number, split in enumerate(self.splits, start=1)]
        if self.with_boxes:
            lines.append(f"  no person found in {self.without_person} of {self.with_boxes} videos")
        if 0 < self.with_boxes < self.rows:
            lines.append(f"  no person boxes are known for {self.rows - self.with_boxes} videos: --detector finds some")
        width = max(map(len, self.reasons), default=0)
        lines += [f"  {reason:{width}}  {count}{self._named(reason)}" for reason, count in self.reasons.items()]
        if self.notes:
            noted = [f"{video} ({note})" for video, note in self.notes]
            lines.append(f"  {len(noted)} notes on rows: {_first(noted, len(noted))}")
        lines += [f"  repaired: {shard}" for shard in self.repaired]
        return "\n".join(lines)

    def _named(self, reason: str) -> str:
        """The first videos of a reason, and the option that would let them pass."""
        examples = self.examples.get(reason, ())
        named = f"  {_first(examples, self.reasons[reason])}" if examples else ""
        return f"{named} (see {_OPTIONS[reason]})" if reason in _OPTIONS else named


def _first(names: Sequence[str], count: int) -> str:
    shown = names[:_SHOWN]
    return ", ".join(shown) + (f" and {count - len(shown)} more" if count > len(shown) else "")


def make_ledger(videos_in: int, splits: int, quarantines: Sequence[Quarantine], repaired: Sequence[str] = ()) -> Ledger:
    """The ledger of a data set's quarantine files, which know their shards' rows.

    Args: splits: how many official ones.
    """
    counts: list[Counter[str]] = [Counter() for _ in range(splits)]
    examples: dict[str, list[str]] = {}
    reasons: Counter[str] = Counter()
    records = [found.record for found in quarantines if found.record]
    for record in records:
        for count, part in zip(counts, record.splits, strict=False):
            count.update(part)
    for row in (row for found in quarantines for row in found.rows):
        reasons[row["error"]] += 1
        named = examples.setdefault(row["error"], [])
        if len(named) < _SHOWN:
            named.append(flat(row["video_id"] or row["path"]))
    return Ledger(
        videos_in,
        tuple({name: count[name] for name in SPLITS} for count in counts),
        dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        sum(record.with_boxes for record in records),
        sum(record.without_person for record in records),
        examples,
        [note for record in records for note in record.notes],
        repaired,
    )
