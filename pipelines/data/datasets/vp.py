"""The privacy labels of VP-HMDB51 and VP-UCF101: a pickled dict of integer arrays, read as data.

Nothing of Python's or numpy's own unpickling runs. A pickle is a program, and even the harmless names that numpy's
pickles ask for can be made to fill the memory or to read anywhere in it. This follows the instructions that such a dict
needs and stops at any other. No name is looked up: each that is allowed stands for the few lines here that do the same
with plain values.
"""

import pickletools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.data.annotation_files import brief, faults_named, read_bounded
from pipelines.data.datasets.files import VideoFiles
from pipelines.data.manifest import VP_LABEL_ORDER, ManifestError, VideoEntry
from pipelines.text import printable

# The largest published file has 1.5 MB.
_LARGEST_BYTES = 8 << 20
_KIND = "privacy labels"
# Instructions by the names that pickletools gives them.
_PUSHED = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    "BINUNICODE8",
}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_REMEMBERED, _RECALLED = {"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = {"PROTO", "FRAME", "STOP"}
_INTEGERS = re.compile("[biu][1248]")


def load_label_pickle(path: Path, attributes: int) -> Mapping[str, NDArray[np.int64]]:
    """Published privacy labels: a pickled dict from `action/NAME.mp4` to an integer array (1, attributes).

    Nothing but dicts, strings and arrays of integers is read: a pickle can otherwise run any program.
    Raises: ManifestError: missing, not such a pickle, it asks for anything else, or a video has other attributes.
    """
    content = read_bounded(path, _KIND, _LARGEST_BYTES)
    with faults_named(path, _KIND):
        labels = read_label_pickle(content)
    for key, label in labels.items():
        if label.shape != (1, attributes):
            place = f"{path}, {printable(key)}"
            raise ManifestError(f"{place}: expected an array of 1 x {attributes} integers, got {brief(label)}")
    return labels


class VPLabels:
    """VP labels by video, in the order of VP_LABEL_ORDER whatever the order of the file's columns."""

    def __init__(self, path: Path, label_order: Sequence[str], ignore_case: bool = False) -> None:
        """Read the pickle. Raises: ManifestError: as load_label_pickle; an order that is none of the attributes."""
        columns = ",".join(label_order).split(",")
        if sorted(columns) != sorted(VP_LABEL_ORDER):
            raise ManifestError(f"label_order must hold {', '.join(VP_LABEL_ORDER)}, each once; got {columns}")
        self._path = path
        self._key: Callable[[str], str] = str.casefold if ignore_case else str
        own = [columns.index(name) for name in VP_LABEL_ORDER]
        self._labels: dict[str, bytes] = {}
        for key, label in load_label_pickle(path, len(columns)).items():
            values = label[0].tolist()
            if not all(value in (0, 1) for value in values):
                raise ManifestError(f"{path}, {printable(key)}: labels must be 0 or 1, got {values}")
            if self._key(key) in self._labels:
                raise ManifestError(f"{path}, {printable(key)}: another key differs from it in case only")
            self._labels[self._key(key)] = bytes(int(values[column]) for column in own)

    def of(self, video_id: str) -> bytes:
        """The labels of `action/NAME.avi`, whose key ends in .mp4. Raises: ManifestError: there are none."""
        label = self._labels.get(self._key(video_id.removesuffix(".avi") + ".mp4"))
        if label is None:
            raise ManifestError(f"{self._path}: no labels for {video_id}, which the split files list")
        return label


def labelled_entries(
    video_ids: Iterable[str], files: VideoFiles, labels: VPLabels, splits: Sequence[Mapping[str, str]]
) -> tuple[VideoEntry, ...]:
    """An entry for each `action/NAME.avi`, with its VP labels and its part of every split."""
    return tuple(
        VideoEntry(
            video_id,
            files.path(video_id),
            (video_id.partition("/")[0],),
            labels.of(video_id),
            tuple(split[video_id] for split in splits),
        )
        for video_id in video_ids
    )


class LabelPickleError(ValueError):
    """A pickle that is damaged, or holds something else than a dict of integer arrays."""


@dataclass(frozen=True)
class _Name:
    text: str


@dataclass
class _Dtype:
    code: str
    order: str = "|"


@dataclass
class _Array:
    values: NDArray[Any] | None = None


def read_label_pickle(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays by name. Raises: LabelPickleError: it asks for anything else; other Exceptions: it is damaged."""
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(content):
        machine.step(opcode.name, argument)
    (found,) = machine.stack
    if not isinstance(found, dict):
        raise LabelPickleError(f"it holds a {type(found).__name__}, not a dict of privacy labels by video name")
    for key, value in found.items():
        if not isinstance(value, _Array) or value.values is None:
            raise LabelPickleError(f"{key!r} is a {type(value).__name__}, not an array of integers")
    return {key: value.values for key, value in found.items()}


class _Machine:
    """A pickle's stack and memo. Values are never hashed or compared before their type is known: they can be deep."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[], object]] = {
            "MARK": lambda: self._marks.append(len(self.stack)),
            "EMPTY_DICT": lambda: self.stack.append({}),
            "DICT": lambda: self.stack.append(_filled(self._marked(), {})),
            "SETITEM": lambda: _filled([self.stack.pop(-2), self.stack.pop()], self.stack[-1]),
            "SETITEMS": lambda: _filled(self._marked(), self.stack[-1]),
            "TUPLE": lambda: self.stack.append(tuple(self._marked())),
            "STACK_GLOBAL": lambda: self._ask(self.stack.pop(-2), self.stack.pop()),
            "REDUCE": self._call,
            "BUILD": self._build,
        }

    def step(self, name: str, argument: Any) -> None:
        """Follow one instruction."""
        if name in _PUSHED or name in _CONSTANTS:
            self.stack.append(_CONSTANTS.get(name, argument))
        elif name in _REMEMBERED:
            self._memo[len(self._memo) if argument is None else argument] = self.stack[-1]
        elif name in _RECALLED:
            self.stack.append(self._memo[argument])
        elif name in _TUPLES:
            count = _TUPLES[name]
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif name == "GLOBAL":
            self._ask(*argument.split(" ", 1))
        elif name in self._steps:
            self._steps[name]()
        elif name not in _IGNORED:
            raise LabelPickleError(f"it holds the instruction {name}, and only numpy arrays are allowed")

    def _marked(self) -> list[Any]:
        mark = self._marks.pop()
        found = self.stack[mark:]
        del self.stack[mark:]
        return found

    def _ask(self, module: Any, name: Any) -> None:
        asked = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "something without a name"
        if asked.replace("._core.", ".core.") not in {*_FUNCTIONS, "numpy.ndarray"}:
            raise LabelPickleError(f"it asks for {asked}, and only numpy arrays are allowed")
        self.stack.append(_Name(asked.replace("._core.", ".core.")))

    def _call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise LabelPickleError(f"it calls a {type(function).__name__}")
        self.stack.append(_FUNCTIONS[function.text](*arguments))

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Dtype):
            target.order = "<" if isinstance(state[1], str) and state[1] == "<" else ">"
        elif isinstance(target, _Array):
            _, shape, dtype, is_fortran, content = state
            target.values = _integers(content, dtype, shape, "F" if is_fortran is True else "C")
        else:
            raise LabelPickleError(f"it sets the state of a {type(target).__name__}")


def _filled(items: list[Any], target: Any) -> dict[str, Any]:
    if not isinstance(target, dict) or not all(isinstance(key, str) for key in items[::2]):
        raise LabelPickleError("it holds a dict by something else than the names of videos")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if key in target:
            raise LabelPickleError(f"it holds {key!r} twice")
        target[key] = value
    return target


def _integers(content: Any, dtype: Any, shape: Any, order: Any = "C") -> NDArray[Any]:
    is_plain = isinstance(content, bytes | bytearray) and isinstance(dtype, _Dtype) and isinstance(shape, tuple)
    if not is_plain or not all(type(size) is int for size in shape):
        raise LabelPickleError("it holds an array of something else than integers")
    values = np.frombuffer(bytes(content), np.dtype(dtype.order + dtype.code))
    return values.reshape(shape, order="F" if isinstance(order, str) and order == "F" else "C")


def _dtype(code: Any, *_: Any) -> _Dtype:
    if not isinstance(code, str) or not _INTEGERS.fullmatch(code):
        raise LabelPickleError("it holds an array of something else than integers")
    return _Dtype(code)


def _encoded(text: Any, codec: Any) -> bytes:
    if not isinstance(text, str) or not isinstance(codec, str) or codec != "latin1":
        raise LabelPickleError("it encodes text otherwise than pickles of protocol 2 do")
    return text.encode("latin-1")


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy.core.numeric._frombuffer": lambda *arguments: _Array(_integers(*arguments)),
    "_codecs.encode": _encoded,
}
