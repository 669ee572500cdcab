"""Folders and files on command lines: local paths, or URIs of object stores, which `Path` would mangle."""

from pathlib import Path
from typing import Annotated

from tyro.constructors import PrimitiveConstructorSpec
from upath import UPath

from stprivacy.storage import StorageError, is_uri, location


def _local(text: str) -> Path:
    if is_uri(text):
        raise StorageError(f"{text}: this takes a local folder")
    return Path(text)


Location = Annotated[
    Path,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH|URI",
        instance_from_str=lambda given: location(given[0]),
        is_instance=lambda value: isinstance(value, Path | UPath),
        str_from_instance=lambda path: [str(path)],
    ),
]
LocalFolder = Annotated[
    Path,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda given: _local(given[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    ),
]
