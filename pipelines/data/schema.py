"""The ingested data set on disk: its settings, its tables, its description. Reader and writer agree here.

`dataset.json` has a digest of itself and one of the list of its shards, which has those of the shards: no byte changes
unnoticed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import pyarrow as pa

from pipelines.data.checksums import DamagedDataError, file_digest
from stprivacy.video.decoding import VideoLimits

DESCRIPTION_FILE = "dataset.json"
FORMAT_VERSION = 3
WITHOUT_CHECKSUMS = 2  # the older format that is still read
DetectorName = Literal["none", "hog", "torchvision"]

# `frames` is not nullable and is written alone in its row group, plain and uncompressed, so that its bytes are the
# last prod(shape) bytes of its column chunk: a reader maps them into memory and copies nothing.
VIDEO_SCHEMA = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("actions", pa.list_(pa.int32()), nullable=False),  # indices into dataset.json's action_names
        pa.field("privacy", pa.list_(pa.int8()), nullable=False),
        pa.field("splits", pa.list_(pa.string()), nullable=False),  # one for each official split, in order
        pa.field("frames", pa.large_binary(), nullable=False),
        pa.field("shape", pa.list_(pa.int32()), nullable=False),
        pa.field("fps", pa.float64(), nullable=False),
        pa.field("stride", pa.int32(), nullable=False),
        pa.field("source_frames", pa.int32(), nullable=False),
        pa.field("checksum", pa.string(), nullable=False),  # SHA-256 of the video file
        pa.field("slot_crc32", pa.list_(pa.uint32()), nullable=False),  # of the bytes of each tubelet slot of frames
        pa.field("notes", pa.list_(pa.string()), nullable=False),  # what the decoder left out, in words
        pa.field("person_boxes", pa.list_(pa.list_(pa.list_(pa.float32())))),
        pa.field("privacy_frames", pa.list_(pa.list_(pa.int8()))),  # a label for each stored frame and attribute
    ]
)
QUARANTINE_SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("video_id", "path", "error", "message")]
)


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table that others may have written.

    Raises: ValueError: a column of an extension type, whose values may be code: Ray's are pickles, which it runs.
    """
    for field in table.schema:
        if _has_extension(field.type):
            raise ValueError(f"its column {field.name} is of type {field.type}, which no shard has")
    return cast(list[dict[str, Any]], table.to_pylist())


def _has_extension(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return True
    if pa.types.is_dictionary(kind):
        return _has_extension(kind.value_type)
    return any(_has_extension(kind.field(at).type) for at in range(kind.num_fields))


@dataclass(frozen=True)
class IngestSettings:
    """How videos become rows.

    Args:
        stride: every stride-th source frame is kept
        short_side_px: frames are shrunk to it, never enlarged
        tubelet_frames: the last frame is repeated until their number is a multiple of it
        max_pixels: a file with larger frames is quarantined
        max_seconds: a longer video is quarantined
        max_streams: a file with more streams (video, sound, subtitles) is quarantined
        seconds_per_video: a video that takes longer to read is quarantined; when a later call allows more, it is tried
            again
        shard_videos: videos in one Parquet file, decoded by one task
        detector: finds persons in videos that come without boxes: hog is OpenCV's, for upright whole persons;
            torchvision is its fasterrcnn_mobilenet_v3_large_320_fpn; none leaves these videos without boxes
        detector_weights: file of torchvision's weights for that model; nothing is downloaded
    """

    stride: int = 2
    short_side_px: int = 128
    tubelet_frames: int = 2
    max_pixels: int = VideoLimits.max_pixels
    max_seconds: float = VideoLimits.max_seconds
    max_streams: int = VideoLimits.max_streams
    seconds_per_video: float = 300.0
    shard_videos: int = 32
    detector: DetectorName = "none"
    detector_weights: str = ""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if self.detector not in get_args(DetectorName):
            raise ValueError(f"detector must be one of {', '.join(get_args(DetectorName))}, got {self.detector!r}")
        if self.detector != "torchvision" and self.detector_weights:
            raise ValueError(f"--detector-weights belongs to --detector torchvision, got --detector {self.detector}")
        if self.detector == "torchvision" and not Path(self.detector_weights).is_file():
            raise ValueError(
                f"--detector torchvision needs --detector-weights FILE, got {self.detector_weights!r}: the state dict "
                "of torchvision's fasterrcnn_mobilenet_v3_large_320_fpn (.pth). Nothing is downloaded; without one: "
                "--detector hog"
            )

    def identity(self) -> dict[str, Any]:
        """What decides the rows, for fingerprints: weights by their content.

        How long a video may take is no part of it: that depends on the machine, and on what else it does.
        """
        settings = asdict(self)
        del settings["seconds_per_video"]
        detector, weights = settings.pop("detector"), settings.pop("detector_weights")
        if detector != "none":
            settings["detector"] = detector
        if weights:
            settings["detector_weights"] = hashlib.sha256(Path(weights).read_bytes()).hexdigest()
        return settings

    @property
    def limits(self) -> VideoLimits:
        """The part that a decoder must enforce."""
        return VideoLimits(self.max_pixels, self.max_seconds, self.max_streams)


@dataclass(frozen=True)
class Description:
    """What `dataset.json` says; names are in label order, `fingerprint` is that of rows, labels, names and settings.

    shards_digest: of the file with the seals of all shards; empty in the older format, which has none.
    """

    dataset: str
    action_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    multi_label: bool
    splits: int
    stride: int
    tubelet_frames: int
    rows: int
    fingerprint: str
    shards_digest: str = ""


def read_description(folder: Path) -> Description:
    """`dataset.json` of an ingested data set.

    Raises: ValueError: missing, unreadable or of another format. DamagedDataError: it is not as it was written.
    """
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing: this is not a finished ingest; run jobs/ingest.py with --out {folder}")
    try:
        fields = json.loads(path.read_bytes())
        version = fields["format_version"]
        if version not in (FORMAT_VERSION, WITHOUT_CHECKSUMS):
            raise ValueError(f"format_version is {version}, this program reads {FORMAT_VERSION}")
        # The older format has no digest, which does not make a damaged version number one of that format.
        if (version == FORMAT_VERSION or "digest" in fields) and fields.get("digest") != _digest(fields):
            raise DamagedDataError(f"{path} is not as it was written")
        return Description(
            dataset=fields["dataset"],
            action_names=tuple(fields["action_names"]),
            attribute_names=tuple(fields["attribute_names"]),
            multi_label=fields["multi_label"],
            splits=fields["splits"],
            stride=fields["settings"]["stride"],
            tubelet_frames=fields["settings"]["tubelet_frames"],
            rows=fields["counts"]["rows"],
            fingerprint=fields["fingerprint"],
            shards_digest=fields.get("shards_digest", ""),
        )
    except DamagedDataError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be used ({type(error).__name__}: {error}): ingest again") from error


def description_text(fields: Mapping[str, Any]) -> str:
    """`dataset.json` with these fields and their digest."""
    return json.dumps({**fields, "digest": _digest(fields)}, indent=2) + "\n"


def _digest(description: Mapping[str, Any]) -> str:
    """Of all that a `dataset.json` says but its own digest."""
    fields = {name: value for name, value in description.items() if name != "digest"}
    return file_digest(json.dumps(fields, sort_keys=True).encode())
