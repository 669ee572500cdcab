"""Folders and files on command lines: local paths, or URIs of object stores, which `Path` would mangle."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from upath import UPath

from stprivacy.storage import StorageError, is_uri, location

try:
    from tyro.conf import Fixed as Fixed
    from tyro.conf import arg as arg
    from tyro.constructors import PrimitiveConstructorSpec
except ImportError:  # where only PyTorch is, as on the machines of benchmarks/gpu.py, no command line is read
    Fixed = Annotated[TypeVar("Value"), "fixed"]  # type: ignore[misc]

    def arg(**_: object) -> str:  # type: ignore[no-redef]
        """In place of tyro's mark."""
        return "argument"

    PrimitiveConstructorSpec = arg  # type: ignore[assignment,misc]


def _local(text: str) -> Path:
    if is_uri(text):
        raise StorageError(f"{text}: this takes a local folder")
    return Path(text)


def _spec(metavar: str, parse: Callable[[str], Path]) -> "PrimitiveConstructorSpec[Path]":
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda given: parse(given[0]),
        is_instance=lambda value: isinstance(value, Path | UPath),
        str_from_instance=lambda path: [str(path)],
    )


Location = Annotated[Path, _spec("PATH|URI", location)]
LocalFolder = Annotated[Path, _spec("PATH", _local)]
