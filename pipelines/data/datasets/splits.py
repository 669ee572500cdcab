"""Which videos train and which test: HMDB51's split files, and a random split where none was published."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.data.annotation_files import brief, read_lines
from pipelines.data.manifest import ManifestError

TRAIN_SHARE = 0.6
_SPLIT_OF_CODE = {"0": "unused", "1": "train", "2": "test"}


def split_file_end(number: int) -> str:
    """What follows the action in the name of a file of HMDB51's split of this number."""
    return f"_test_split{number}.txt"


def read_split(files: Sequence[Path], number: int) -> Iterator[tuple[str, str, str, str]]:
    """Place, action, file name and split of each line of HMDB51's `<action>_test_split<number>.txt` files.

    Names are matched exactly: they hold blanks' neighbours such as ! ( ) # [ ] & + ; ~ @.
    Raises: ManifestError: a line that is not `NAME 0|1|2`.
    """
    for file in files:
        for place, line in read_lines(file):
            name, _, code = line.rpartition(" ")
            if not name or code not in _SPLIT_OF_CODE:
                raise ManifestError(f"{place}: expected `NAME 0`, `NAME 1` or `NAME 2`, got {brief(line)}")
            yield place, file.name.removesuffix(split_file_end(number)), name.rstrip(), _SPLIT_OF_CODE[code]


def random_split(video_ids: Sequence[str], seed: int) -> dict[str, str]:
    """60 % train and 40 % test, in the order of a hash of seed and id: the same on every machine.

    The papers that split at random published neither seed nor lists: this is another draw than theirs.
    """
    order = sorted(video_ids, key=lambda video_id: hashlib.sha256(f"{seed}/{video_id}".encode()).digest())
    train = round(TRAIN_SHARE * len(order))
    return {video_id: "train" if place < train else "test" for place, video_id in enumerate(order)}
