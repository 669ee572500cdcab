import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from pipelines import RAY_SETTINGS, cluster


def test_starting_twice_keeps_the_cluster(ray_cluster: None) -> None:
    before = ray.get_runtime_context().get_job_id()
    cluster.start(num_cpus=1)
    assert ray.get_runtime_context().get_job_id() == before
    assert ray.cluster_resources()["CPU"] == 4  # type: ignore[no-untyped-call]


def test_worker_processes_find_the_library_and_stay_where_they_are(ray_cluster: None) -> None:
    @ray.remote(num_cpus=1)
    def look() -> tuple[str, str]:
        import stprivacy

        return os.environ["RAY_CHDIR_TO_TRIAL_DIR"], str(stprivacy.__file__)

    setting, file = ray.get(look.remote())
    assert setting == "0"
    assert Path(file).parents[1] == cluster.ROOT


def test_importing_the_package_sets_what_ray_reads_on_import() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    code = "import os, sys, pipelines; print('ray' in sys.modules, os.environ['RAY_DATA_USE_DATASOURCE_V2'])"
    environment = clean | {"RAY_DATA_USE_DATASOURCE_V2": "1"}
    for given, expected in ((clean, "False 0"), (environment, "False 1")):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=given, cwd=cluster.ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


def test_ray_data_has_read_the_settings(ray_cluster: None) -> None:
    assert RAY_SETTINGS["RAY_DATA_USE_DATASOURCE_V2"] == "0"
    assert not ray.data.DataContext.get_current().use_datasource_v2


def test_settings_of_the_user_are_left_alone(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "1")
    cluster.start()
    assert os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] == "1"


def test_nodes_are_sent_the_library_unless_the_job_brought_it(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [str(cluster.ROOT / name) for name in ("stprivacy", "pipelines")]
    monkeypatch.delenv(cluster.JOB_CONFIG, raising=False)
    assert cluster.library() == {"py_modules": packages}
    for brought, sent in (({"working_dir": "gcs://_ray_pkg_1.zip"}, {}), ({"env_vars": {}}, {"py_modules": packages})):
        monkeypatch.setenv(cluster.JOB_CONFIG, json.dumps({"runtime_env": brought, "metadata": {}}))
        assert cluster.library() == sent


LOOK = """
import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1]).internal_kv_keys(b"", b"fun")
"""
START = """
import os, ray
from pipelines import cluster
cluster.start(num_cpus=1)
print(os.environ["RAY_AUTH_MODE"], len(os.environ.get("RAY_AUTH_TOKEN", "")))
print(ray.get(ray.remote(lambda: os.environ.get("RAY_AUTH_TOKEN")).remote()) == os.environ.get("RAY_AUTH_TOKEN"))
"""


def without_authentication() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}


def test_an_embedded_ray_answers_nobody_without_its_token(ray_cluster: None) -> None:
    assert os.environ["RAY_AUTH_MODE"] == "token"
    own = os.environ["RAY_AUTH_TOKEN"]
    address = ray.get_runtime_context().gcs_address
    for more, status in (
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": own}, 0),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": own[::-1]}, 1),
        ({"RAY_AUTH_MODE": "disabled"}, 1),
    ):
        command = [sys.executable, "-c", LOOK, address]
        done = subprocess.run(command, env=without_authentication() | more, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert ("AuthenticationError" in done.stderr) == bool(status)


@pytest.mark.parametrize(
    ("mode", "shown"),
    [({}, "token 64"), ({"RAY_AUTH_MODE": "disabled"}, "disabled 0")],
    ids=["by default", "as the user says"],
)
@pytest.mark.slow
def test_the_token_needs_no_home_folder(mode: dict[str, str], shown: str) -> None:
    environment = without_authentication() | {"HOME": "/dev/null/home"} | mode
    done = subprocess.run(
        [sys.executable, "-c", START], env=environment, cwd=cluster.ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, [shown, "True"]), done.stderr


def in_a_process(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, errors="surrogateescape"
    )


@pytest.mark.slow
def test_ray_notes_a_command_line_without_passwords_whatever_bytes_it_has(tmp_path: Path) -> None:
    code = "from pipelines import cluster; cluster.start(num_cpus=1); from ray._private.state import state; "
    code += "print(state.job_table()[0]['Entrypoint'])"
    done = in_a_process(code, os.fsdecode(b"caf\xe9.csv"), "http://me:hidden@host", cwd=tmp_path)
    assert done.stdout.endswith(" caf\\xe9.csv http://***@host\n"), done.stderr


def test_a_current_folder_that_ray_cannot_name_is_told(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    done = in_a_process("from pipelines import cluster; cluster.start()", cwd=folder)
    assert f"the name of the current folder, {tmp_path}/caf\\xe9, is not UTF-8" in done.stderr
    assert done.returncode == 1


SLOW = """
import sys, time, psutil, ray
from ray._private import node, services
from pipelines import cluster

class Leaping:  # Ray waits 30 s for its node; here each look at the clock is a minute after the last
    now = 0.0
    def __getattr__(self, name):
        return getattr(time, name)
    def monotonic(self):
        self.now += 60
        return self.now

as_it_is, too_slow, cluster.START_ATTEMPTS = services.get_node, int(sys.argv[1]), 2
def get_node(*given):
    global too_slow
    too_slow -= 1
    if too_slow >= 0:
        raise RuntimeError("not there yet")
    return as_it_is(*given)
services.get_node, node.time = get_node, Leaping()
try:
    cluster.start(num_cpus=1)
    print(ray.get(ray.remote(lambda: "started").remote()))
except TimeoutError as error:
    print(str(error).partition(":")[0])
names = [process.name() for process in psutil.Process().children()]
print(names.count("gcs_server"), names.count("raylet"))
"""


@pytest.mark.parametrize(("slow", "says"), [(1, "started\n1 1\n"), (2, "Ray did not start in 2 attempts\n0 0\n")])
@pytest.mark.slow
def test_ray_is_started_again_where_a_busy_machine_was_too_slow(slow: int, says: str) -> None:
    done = in_a_process(SLOW, str(slow), cwd=cluster.ROOT)
    assert done.stdout == says, done.stderr
