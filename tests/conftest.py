"""What all tests share: fixed seeds and one embedded Ray."""

import os
import random
import re
import socket
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import pipelines  # noqa: F401  # before any test imports Ray, which reads the environment that this sets
from tests.support.places import ROOT

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController

    from tests.support.sweep_fixtures import Swept

# Before Ray starts, whose processes inherit it: the object store that tests/support/object_store_fixtures.py serves.
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{probe.getsockname()[1]}"
os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
# Worker processes import the library and the tests' own helpers from here.
paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadScopeScheduling":
    """With several processes, one does all tests that share Ray: two of them beside each other take longer.

    The rest goes to either, a module at a time, in the order of the modules: those of the networks, which are short,
    come last and fill what is left of the time.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByWhatTheyShare(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return "Ray" if _shares_ray(config.rootpath / module) else module

    return ByWhatTheyShare(config, log)


@cache
def _shares_ray(module: Path) -> bool:
    return bool({"ray_cluster", "swept"} & set(re.findall(r"\w+", module.read_text())))


class SlowLeftOut:
    """Counts the tests marked slow that this session was told to leave out, and says how to run them.

    With several processes each of them finds all tests: the one that reports asks any of them.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config, self._count = config, 0

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._count += sum(item.get_closest_marker("slow") is not None for item in items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput["slow_left_out"] = self._count

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: "WorkerController", error: object) -> None:
        self._count = max(self._count, getattr(node, "workeroutput", {}).get("slow_left_out", 0))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._count and "not slow" in self._config.option.markexpr:  # others are left out by name
            terminalreporter.write_line(f"slow tests left out: {self._count}; make test-slow runs them")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(SlowLeftOut(config))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test begins with the same random state."""
    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """An embedded Ray with four logical CPUs, shared by all tests of the session."""
    from pipelines import cluster

    cluster.start(num_cpus=4)
    yield
    cluster.stop()


@pytest.fixture(scope="session")
def swept(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> "Swept":
    """A sweep of four tiny trials that has run."""
    from tests.support.sweep_fixtures import sweep_tiny

    return sweep_tiny(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of phase 1 to release with; see `tests.support.release_fixtures.write_run`. It stays as it is."""
    from tests.support.release_fixtures import write_run

    return write_run(tmp_path_factory.mktemp("trained"))
