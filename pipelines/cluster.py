"""One way to reach Ray: the cluster that a job was submitted to, or a small Ray inside this process tree."""

import json
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.text import printable, redacted
from stprivacy.storage import is_utf8

ROOT = Path(__file__).resolve().parents[1]

# A node that can be reclaimed needs the watcher; a laptop saves an actor. A busy machine needs more than 30 s for GCS.
LOCAL_SETTINGS = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0", "RAY_gcs_server_port_wait_time_s": "120"}
# Read when ray.data is imported, which `import ray` alone does not do. Of Tune's two outputs only the old can be quiet.
QUIET_SETTINGS = {
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_LOG_LEVEL": "CRITICAL",
    "RAY_AIR_NEW_OUTPUT": "0",
}
# Where `ray job submit` leaves the runtime environment of the job that it starts.
JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
START_ATTEMPTS = 3
_TOO_SLOW = "timed out during startup"


def start(*, verbose: bool = False, num_cpus: int | None = None) -> None:
    """Connect to Ray once per process; later calls do nothing.

    Under `ray job submit`, or where RAY_ADDRESS names a cluster, connects to it; otherwise starts an embedded Ray of
    `num_cpus` logical CPUs (default: the machine's, at least 4, so that two workers and their helpers fit) without
    dashboard, which ends with this process and answers nobody without its token. Worker processes find `stprivacy` and
    `pipelines` on whatever node they run: in the working directory that the job brought, or else sent there from here.
    Ray's own messages and progress bars are shown with `verbose` only.

    Raises:
        ValueError: the name of the current folder, which Ray gives to its workers, is not UTF-8.
        TimeoutError: this machine is too busy for Ray to start.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    _set_environment(local=not address, verbose=verbose)
    import ray

    if ray.is_initialized():
        return
    if not address:
        _require_token()
    level = logging.INFO if verbose else logging.CRITICAL  # errors are raised, too, and then reported in one line
    if not verbose:
        for name in ("ray", "ray.data", "ray.train", "ray.tune"):
            logging.getLogger(name).setLevel(level)
    _check_current_folder()
    with own_signals(), _shown_entrypoint():
        if address:
            ray.init(address=address, runtime_env=library(), logging_level=level, log_to_driver=verbose)
            return
        _start_embedded(
            num_cpus=num_cpus or max(4, os.cpu_count() or 1),
            include_dashboard=False,
            logging_level=level,
            log_to_driver=verbose,
        )


def _start_embedded(**settings: Any) -> None:
    """Start Ray here, and once more where it was too slow: on a busy machine its processes give each other up.

    A raylet ends when its agents take more than 15 s to start, and no setting changes that.
    """
    import psutil
    import ray

    this = psutil.Process()
    for _ in range(START_ATTEMPTS):
        before = set(this.children())
        try:
            ray.init(address="local", **settings)  # never a stranger's cluster that happens to run on this machine
            return
        except Exception as error:
            if _TOO_SLOW not in str(error):
                raise
        started = set(this.children()) - before
        for process in started:
            process.kill()
        psutil.wait_procs(started)
    raise TimeoutError(
        f"Ray did not start in {START_ATTEMPTS} attempts: wait until this machine is less busy and rerun the command; "
        "if it is not busy, raylet.out in /tmp/ray/session_latest/logs says what ended"
    )


def stop() -> None:
    """Leave the cluster; an embedded Ray ends. Does nothing when none was started."""
    import ray

    ray.shutdown()


def library() -> dict[str, Any]:
    """The runtime environment that brings this library to the nodes of a cluster.

    Empty for a job that was submitted with a working directory: its packages are the same on the driver and on every
    node. Without one, other nodes know neither the driver's folder nor its PYTHONPATH.
    """
    job = json.loads(os.environ.get(JOB_CONFIG, "{}")).get("runtime_env") or {}
    if "working_dir" in job or "py_modules" in job:
        return {}
    return {"py_modules": [str(ROOT / name) for name in ("stprivacy", "pipelines")]}


def _set_environment(*, local: bool, verbose: bool) -> None:
    settings = (LOCAL_SETTINGS if local else {}) | ({} if verbose else QUIET_SETTINGS)
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


def _require_token() -> None:
    """Have the embedded Ray ask for a token that only this process and its children know, unless the user says how.

    By default Ray draws one, too, but keeps it in the home folder, which may not be writable.
    """
    from ray._raylet import Config  # type: ignore[attr-defined]

    mode = os.environ.setdefault("RAY_AUTH_MODE", "token")
    if mode.lower() == "token" and not any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    Config.initialize("")  # Ray has read its settings when it was imported


def _check_current_folder() -> None:
    folder = os.getcwd()
    if not is_utf8(folder):
        raise ValueError(
            f"the name of the current folder, {printable(folder)}, is not UTF-8, and Ray starts in no such folder: run "
            "the command in another one, with whole paths"
        )


@contextmanager
def _shown_entrypoint() -> Iterator[None]:
    """Have Ray note the command line as it may be shown: without passwords, and in UTF-8, which names need not be."""
    from ray._private import utils

    as_it_is = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: redacted(printable(as_it_is()))  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        utils.get_entrypoint_name = as_it_is


@contextmanager
def own_signals() -> Iterator[None]:
    """Keep what the command does on SIGTERM: Ray replaces it, waits for the node to drain, and exits with 1."""
    before = signal.getsignal(signal.SIGTERM)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        yield
    except SystemExit:  # Ray's answer to SIGTERM while it starts
        before(signal.SIGTERM, None)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
