"""Folders and files on command lines: local paths, or URIs of object stores, which `Path` would mangle."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from tyro.constructors import PrimitiveConstructorSpec
from upath import UPath

from stprivacy.storage import StorageError, is_uri, location


def _local(text: str) -> Path:
    if is_uri(text):
        raise StorageError(f"{text}: this takes a local folder")
    return Path(text)


def _spec(metavar: str, parse: Callable[[str], Path]) -> PrimitiveConstructorSpec[Path]:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda given: parse(given[0]),
        is_instance=lambda value: isinstance(value, Path | UPath),
        str_from_instance=lambda path: [str(path)],
    )


Location = Annotated[Path, _spec("PATH|URI", location)]
LocalFolder = Annotated[Path, _spec("PATH", _local)]
