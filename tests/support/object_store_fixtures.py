"""A local S3 server, folders in it, and an executor that is killed once in a run that lies there."""

import logging
import os
import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from moto.server import ThreadedMotoServer

from pipelines.train.execute import execute
from stprivacy.checkpoint import CheckpointStore
from stprivacy.storage import location, write_whole

BUCKET = "stprivacy-test"
FAULT_STEP = 9
KILLED_ONCE = "tests.support.object_store_fixtures:killed_once"


@contextmanager
def served_bucket() -> Iterator[str]:
    """The URI of an empty bucket, at the address that tests/conftest.py put into the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=urlsplit(os.environ["AWS_ENDPOINT_URL"]).port or 0)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server.start()
    try:
        bucket = f"{BUCKET}-{secrets.token_hex(4)}"  # the server's memory outlives it: another module's are still there
        boto3.client("s3").create_bucket(Bucket=bucket)
        yield f"s3://{bucket}"
    finally:
        server.stop()


def upload(folder: Path, uri: str) -> Path:
    """Copy a local folder to a URI."""
    target = location(uri)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            write_whole(target / str(path.relative_to(folder)), path.read_bytes())
    return target


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, local or not, by their relative paths."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path).removeprefix(f"{folder}/"): path.read_bytes() for path in found}


def killed_once(config: dict[str, Any], folder: Path, context: Any, store: CheckpointStore) -> Mapping[str, Any]:
    """The phase; the recipe of a run names a local folder, where a mark says that rank 1 has been killed."""
    return execute(config, folder, _Dying(context, Path(config["recipe"]) / "killed"), store)


class _Dying:
    def __init__(self, inner: Any, mark: Path) -> None:
        self._inner, self._mark = inner, mark

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def progress(self, phase: str, step: int, total_steps: int, clips: int) -> None:
        self._inner.progress(phase, step, total_steps, clips)
        if self._inner.rank == 1 and step == FAULT_STEP and not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
