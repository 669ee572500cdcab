"""How every job ends: one line for an error, 130 and one line after Ctrl-C, and nothing left running."""

import os
import signal
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray

from pipelines.text import one_line
from stprivacy.storage import StorageError
from tests.support.bad_corpus import write_video
from tests.support.command_fixtures import run_command
from tests.support.places import ROOT
from tests.support.release_fixtures import write_run
from tests.support.shard_fixtures import write_tiny_dataset

MARK = "STPRIVACY_TEST_MARK"


def _heed_ctrl_c() -> None:
    """Whoever runs the tests in the background has them ignore it, and so would what they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Job:
    """A process in a group of its own, as a terminal starts it, and all processes that it starts in turn."""

    words: tuple[str, ...]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen(
            [sys.executable, "-u", *self.words],
            env=os.environ | {MARK: self.mark},
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=_heed_ctrl_c,
            **pipes,
        )

    def wait_for(self, word: str) -> None:
        """Read its output up to a line with this word."""
        assert self.process.stdout
        said = []
        for line in self.process.stdout:
            said.append(line)
            if word in line:
                return
        raise AssertionError("".join(said))

    def ends_after(self, sent: signal.Signals) -> tuple[int, str]:
        """Its exit status and what it says after a signal to the whole group, as a terminal sends it."""
        os.killpg(self.process.pid, sent)
        said, _ = self.process.communicate(timeout=60)
        return self.process.returncode, said

    def left(self) -> list[str]:
        """Processes of it that are still there after a while."""
        deadline = time.monotonic() + 20
        while (found := list(self._marked())) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _marked(self) -> Iterator[str]:
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self.mark.encode() in (folder / "environ").read_bytes():
                    yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Job]]:
    """Jobs at their long work: reading videos through Ray, training, and releasing without Ray."""
    folder = tmp_path_factory.mktemp("jobs")
    run = write_run(folder / "trained")
    video = write_video(folder / "raw" / "long.mp4", frames=6000)
    (folder / "list.csv").write_text("path,action,split,privacy_face\nraw/long.mp4,walk,train,1\n")
    ingest = ("csv", "--manifest", str(folder / "list.csv"), "--out", str(folder / "data"))
    train = ("--data", str(folder / "trained" / "data"), "--out", str(folder / "init"), "--train.epochs", "9999")
    release = ("--from", str(run), "--input", str(video), "--output", str(folder / "released"))
    started = {
        name: Job((f"jobs/{name}.py", *words))
        for name, words in (("ingest", ingest), ("init", train), ("anonymize", release))
    }
    yield started
    for job in started.values():
        with suppress(ProcessLookupError):
            os.killpg(job.process.pid, signal.SIGKILL)
        job.process.wait()


@pytest.mark.parametrize(("name", "at"), [("anonymize", "release: 1"), ("ingest", "ingest: 1"), ("init", "starting 2")])
def test_ctrl_c_ends_a_job_with_130_one_line_and_no_process_left(jobs: dict[str, Job], name: str, at: str) -> None:
    jobs[name].wait_for(at)
    assert jobs[name].ends_after(signal.SIGINT) == (130, "interrupted: rerun the command to resume\n")
    assert jobs[name].left() == []


def test_ctrl_c_reaches_generating_processes_too_and_their_parent_alone_speaks(tmp_path: Path) -> None:
    job = Job(("jobs/synth.py", "--out", str(tmp_path / "synth"), "--workers", "4"))
    job.wait_for("generate: 3000")
    assert job.ends_after(signal.SIGINT) == (130, "interrupted: rerun the command to resume\n")
    assert job.left() == []


def program(body: str) -> Job:
    """A command that does `body` under the wrapper."""
    return Job(("-c", f"from pipelines.cli import run\ndef main():\n {body}\nrun(main)"))


def test_termination_ends_with_143_and_one_line() -> None:
    job = program("import time; print('at work'); time.sleep(60)")
    job.wait_for("at work")
    assert job.ends_after(signal.SIGTERM) == (143, "terminated: rerun the command to resume\n")


def test_termination_is_noticed_when_ray_has_been_started(ray_cluster: None) -> None:
    from pipelines import cluster

    before = signal.getsignal(signal.SIGTERM)
    own = lambda *_: None  # noqa: E731
    try:
        signal.signal(signal.SIGTERM, own)
        with cluster.own_signals():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as ray.init does
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_threads_that_wait_for_something_do_not_delay_the_end_or_talk_about_it() -> None:
    waiting = "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()"
    job = program(f"{waiting}; print('at work'); time.sleep(60)")
    job.wait_for("at work")
    before = time.monotonic()
    assert job.ends_after(signal.SIGINT) == (130, "interrupted: rerun the command to resume\n")
    assert time.monotonic() - before < 20


def test_a_reader_that_leaves_early_is_no_error() -> None:
    for body in (
        "print('line ' * 100_000)",
        "print('line'); import time; time.sleep(.5)",
        "print('l'); raise SystemExit",
    ):
        words = [sys.executable, "-c", f"from pipelines.cli import run\ndef main():\n {body}\nrun(main)"]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stderr
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 141


def test_output_that_cannot_be_written_is_one_line() -> None:
    words = [sys.executable, "-c", "from pipelines.cli import run\nrun(lambda: print('result'))"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_a_mistake_of_the_program_keeps_its_traceback() -> None:
    for body, shown in (("assert 1 == 2", "AssertionError"), ("{}['http://me:hunter2@host']", "KeyError")):
        job = program(body)
        said, _ = job.process.communicate()
        assert job.process.returncode == 1
        assert said.startswith("Traceback")
        assert shown in said
        assert "hunter2" not in said


def test_names_that_are_no_text_can_be_printed() -> None:
    job = program(r"print('caf\udce9.mp4')")
    said, _ = job.process.communicate()
    assert (job.process.returncode, said) == (0, "caf\\udce9.mp4\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "/a/b"), "/a/b: No such file or directory"),
        (PermissionError(13, "Permission denied", b"/a/\xe9"), r"/a/\xe9: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(18, "Invalid cross-device link", "/a", None, "/b"), "/a -> /b: Invalid cross-device link"),
        (OSError("a store said no"), "a store said no"),
        (StorageError("two\nlines"), "two lines"),
        (RuntimeError(), "RuntimeError"),
        (MemoryError(), "out of memory: rerun the command with fewer workers or smaller batches to resume"),
        (zipfile.BadZipFile("File is not a zip file"), "File is not a zip file"),
        (pa.ArrowInvalid("not a\nParquet file"), "not a Parquet file"),
        (ray.exceptions.GetTimeoutError("Get timed out"), "Get timed out"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_is_one_line_that_says_what_and_where(error: Exception, said: str) -> None:
    assert one_line(error) == said


def raised(action: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as found:  # noqa: PT011
        action()
    assert isinstance(found.value, Exception)
    return found.value


def test_of_a_failed_ray_task_the_line_says_what_was_raised_in_it(ray_cluster: None) -> None:
    full = OSError(28, "No space left on device", "/data/x")

    @ray.remote
    def task() -> None:
        raise full

    @ray.remote
    class Actor:
        def __init__(self) -> None:
            raise full

        def look(self) -> None:
            pass

    def block(_: object) -> object:
        raise full

    assert one_line(raised(lambda: ray.get(task.remote()))) == "/data/x: No space left on device"
    for action in (
        lambda: ray.get(Actor.remote().look.remote()),
        lambda: list(ray.data.range(1).map_batches(block).iter_rows()),
    ):
        assert one_line(raised(action)) == "OSError: [Errno 28] No space left on device: '/data/x'"


CANNOT = {
    "ingest": ("csv", "--manifest", "{folder}/list.csv", "--out", "{folder}/file/below"),
    "anonymize": ("--from", f"{{folder}}/{'n' * 300}", "--input", "{folder}", "--output", "{folder}/../out"),
    "export": ("--from", f"{{folder}}/{'n' * 300}", "--out", "{folder}/x.pt2", "--format", "torch-export"),
    "synth": ("--out", "{folder}/file/below"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_a_file_that_cannot_be_read_or_written_is_one_line(ray_cluster: None, name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "list.csv").write_text("path,action,split,privacy_face\nnone.mp4,walk,train,1\n")
    done = run_command(name, *(word.format(folder=tmp_path) for word in CANNOT[name]), cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/")


@pytest.mark.parametrize("name", ["ingest", "init", "demo"])
def test_a_folder_for_data_or_runs_whose_name_is_not_utf8_is_refused_by_name(tmp_path: Path, name: str) -> None:
    data = write_tiny_dataset(tmp_path / "data", videos=8)
    (tmp_path / "list.csv").write_text("path,action,split,privacy_face\n")
    options = {"ingest": ["csv", "--manifest", str(tmp_path / "list.csv")], "init": ["--data", str(data)], "demo": []}
    out = tmp_path / os.fsdecode(b"caf\xe9")
    done = run_command(name, "--out", str(out), *options[name], cwd=tmp_path)
    assert done.stderr == f"error: {tmp_path}/caf\\xe9: names of data sets and runs must be UTF-8; choose another\n"
    assert (done.returncode, out.exists()) == (1, False)
