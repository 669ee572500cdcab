"""The page on clusters, command by command, on a Ray with a token: who has none is refused."""

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from tests.support.launch_fixtures import TINY
from tests.support.places import ROOT
from tests.support.run_fixtures import do_run
from tests.support.shard_fixtures import write_tiny_dataset

pytestmark = pytest.mark.slow

RAY = Path(sys.executable).with_name("ray")
TINY_SIZES = (
    "--recipe demo --recognizer.embed-dim 24 --recognizer.num-heads 2 --recognizer.depth 1 "
    "--train.max-steps 3 --train.batch-size 6"
)
WHERE = """
import os, ray
from pipelines import cluster
cluster.start()
@ray.remote
def look():
    import pipelines, stprivacy
    return os.getcwd(), pipelines.__file__, stprivacy.__file__
print("worker:", *ray.get(look.remote()))
"""


@dataclass(frozen=True)
class Head:
    """A Ray of its own, and the environment of a user of it."""

    url: str
    environment: dict[str, str]

    def submit(self, arguments: list[str], **changes: str) -> subprocess.CompletedProcess[str]:
        """`ray` with the given arguments; environment variables of value "" are taken away."""
        environment = {name: value for name, value in (self.environment | changes).items() if value}
        return subprocess.run(
            [str(RAY), *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600
        )


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(found.getsockname()[1]) for found in sockets]
    for found in sockets:
        found.close()
    return ports


def clean_environment(home: Path) -> dict[str, str]:
    """This process's without its Ray settings, with the environment's programs first, and a home with the token."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))}
    token = home / ".ray" / "auth_token"
    path = os.pathsep.join([str(RAY.parent), kept.get("PATH", "")])
    return kept | {"PATH": path, "HOME": str(home), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


def head_command() -> list[str]:
    """The line of cluster.yaml that starts the head, without what only a launched cluster has."""
    commands = yaml.safe_load((ROOT / "cluster.yaml").read_text())["head_start_ray_commands"]
    (line,) = [command for command in commands if "ray start --head" in command]
    assert "RAY_AUTH_MODE=token" in line
    words = shlex.split(line[line.index("ray start") :])
    return [word for word in words[1:] if not word.startswith(("--autoscaling-config", "--port"))]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """`ray start --head` as in cluster.yaml, with ports and folders of its own; what it started, it ends."""
    environment = clean_environment(tmp_path_factory.mktemp("home"))
    token = Path(environment["RAY_AUTH_TOKEN_PATH"])
    token.parent.mkdir()
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    port, client, dashboard, agent = free_ports(4)
    # Sockets have short names: below pytest's own folder they would be too long.
    folder = tempfile.mkdtemp(prefix="ray-")
    own = [f"--port={port}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    own += [f"--temp-dir={folder}", "--num-cpus=4", f"--ray-client-server-port={client}", "--block"]
    own += ["--min-worker-port=0", "--max-worker-port=0"]
    log = open(tmp_path_factory.mktemp("head") / "ray.log", "w+")  # noqa: SIM115  # closed below
    process = subprocess.Popen(
        [str(RAY), *head_command(), *own], env=environment, stdout=log, stderr=log, start_new_session=True
    )
    found = Head(
        f"http://127.0.0.1:{dashboard}", environment | {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    )
    try:
        wait_for_jobs_api(found, process, Path(log.name))
        yield found
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # of its own session: `ray stop` would end every Ray of this machine
        process.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_jobs_api(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 300
    while status(f"{head.url}/api/version", token(head)) != 200:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)


def token(head: Head) -> str:
    return Path(head.environment["RAY_AUTH_TOKEN_PATH"]).read_text()


def status(url: str, bearer: str = "", data: bytes | None = None) -> int:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def documented_submit(shared: Path) -> list[str]:
    """The page's `ray job submit`, with its shared storage in another place and two CPU workers instead of GPUs."""
    block = re.search(r"```bash\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
    assert block is not None
    assert "export RAY_AUTH_MODE=token" in block[1]
    assert "export RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265" in block[1]
    (line,) = [line for line in block[1].splitlines() if line.startswith("ray job submit")]
    words = shlex.split(line.replace("/shared/", f"{shared}/"))[1:]
    assert words[-3:] == ["--workers", "8", "--use-gpu"]
    return [*words[:-3], "--workers", "2", *shlex.split(TINY_SIZES)]


def test_the_documented_job_is_submitted_followed_and_succeeds(head: Head, tmp_path: Path) -> None:
    data = write_tiny_dataset(tmp_path / "data", videos=9)
    init = replace(TINY, data=str(data), train=replace(TINY.train, max_steps=2))
    do_run(init, tmp_path / "runs" / "init")
    done = head.submit(documented_submit(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "adversarial: starting 2 workers" in done.stdout  # the driver's own lines, as it goes on
    assert re.search(r"loss_privacy +\d", done.stdout)
    assert "succeeded" in done.stdout
    result = json.loads((tmp_path / "runs" / "adv" / "result.json").read_text())
    assert (result["phase"], result["world_size"]) == ("adversarial", 2)
    history = (tmp_path / "runs" / "adv" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in history] == [2, 3]


def archive(folder: Path) -> str:
    """The repository as one file, made by the command that k8s/rayjob.yaml gives."""
    text = (ROOT / "k8s" / "rayjob.yaml").read_text()
    found = re.search(r"git archive .*$", text, re.MULTILINE)
    assert found is not None
    command = shlex.split(found[0].replace("-o stprivacy.zip", f"-o {folder}/stprivacy.zip"))
    subprocess.run(command, cwd=ROOT, check=True)
    return text[text.index("file:///") :].split()[0].replace("/shared/", f"{folder}/")


@pytest.mark.parametrize("how", ["working directory", "archive"])
def test_workers_of_a_job_import_what_the_job_brought(head: Head, tmp_path: Path, how: str) -> None:
    if how == "archive" and not (ROOT / ".git").exists():
        pytest.skip(f"{ROOT} is no git repository")
    brought = archive(tmp_path) if how == "archive" else "."
    done = head.submit(["job", "submit", "--working-dir", brought, "--", "python", "-c", WHERE])
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = re.findall(r"worker: (\S+) (\S+) (\S+)", done.stdout)
    folder = Path(found[0])
    assert "working_dir_files" in folder.parts
    assert [Path(file) for file in found[1:]] == [
        folder / "pipelines" / "__init__.py",
        folder / "stprivacy" / "__init__.py",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"HOME": "/nonexistent", "RAY_AUTH_TOKEN_PATH": ""},
        {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": ""},
        {"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": secrets.token_hex(32)},
    ],
    ids=["without the token", "without authentication", "with another token"],
)
def test_a_job_without_the_token_is_refused(head: Head, tmp_path: Path, changes: dict[str, str]) -> None:
    mark = tmp_path / "was-here"
    done = head.submit(["job", "submit", "--", "touch", str(mark)], **changes)
    assert done.returncode != 0
    assert re.search("auth|token", done.stdout + done.stderr, re.IGNORECASE)
    assert not mark.exists()


def test_the_jobs_api_answers_nobody_without_the_token(head: Head) -> None:
    order = json.dumps({"entrypoint": "true"}).encode()
    for bearer in ("", secrets.token_hex(32)):
        assert status(f"{head.url}/api/jobs/", bearer) in (401, 403)
        assert status(f"{head.url}/api/jobs/", bearer, order) in (401, 403)
    assert status(f"{head.url}/api/jobs/", token(head)) == 200


def test_the_dashboard_listens_on_loopback_only(head: Head) -> None:
    port = int(head.url.rpartition(":")[2])
    listening = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()
    ]
    addresses = {
        words[1].partition(":")[0] for words in listening if words[1].endswith(f":{port:04X}") and words[3] == "0A"
    }
    assert addresses == {"0100007F"}  # 127.0.0.1
