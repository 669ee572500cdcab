"""The files that start clusters: valid, with a token everywhere, and closed to the outside."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.support.places import ROOT

LAUNCHER = ["cluster.yaml", "cluster-aws.yaml"]
QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
# Of KubeRay's documented API, ray.io/v1: what this repository uses, and its type.
JOB_FIELDS: dict[str, type] = {
    "entrypoint": str,
    "runtimeEnvYAML": str,
    "submissionMode": str,
    "backoffLimit": int,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "submitterPodTemplate": dict,
    "rayClusterSpec": dict,
}
CLUSTER_FIELDS: dict[str, type] = {
    "rayVersion": str,
    "authOptions": dict,
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": dict,
    "headGroupSpec": dict,
    "workerGroupSpecs": list,
}


def load(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return config


def starts(config: dict[str, Any]) -> list[str]:
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    return [command for command in commands if "ray start" in command]


def locked_ray() -> str:
    (version,) = re.findall(r"^ray==(\S+) ", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    return str(version)


@pytest.mark.parametrize("name", LAUNCHER)
def test_the_launchers_files_are_valid_against_the_schema_that_ships_with_ray(name: str) -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    config = load(name)
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "worker_count": 3}, schema)


@pytest.mark.parametrize("name", LAUNCHER)
def test_ray_up_accepts_them(name: str) -> None:
    config = prepare_config(load(name))
    validate_config(config)
    assert config["max_workers"] == load(name)["max_workers"]
    assert set(starts(load(name))) <= set(starts(config))


@pytest.mark.parametrize("name", LAUNCHER)
def test_every_node_asks_for_the_token_and_the_dashboard_stays_on_loopback(name: str) -> None:
    config = load(name)
    assert len(starts(config)) == 2
    for command in starts(config):
        assert "RAY_AUTH_MODE=token ray start" in command
        assert ("--dashboard-host=127.0.0.1" in command) == ("--head" in command)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@pytest.mark.parametrize("name", LAUNCHER)
def test_every_node_installs_the_lock(name: str) -> None:
    config = load(name)
    (target,) = [remote for remote, local in config["file_mounts"].items() if local == "requirements.lock"]
    assert any(
        command.endswith(f"-m pip install --quiet --require-hashes -r {target}") for command in config["setup_commands"]
    )


def test_spot_is_for_workers_only() -> None:
    config = load("cluster-aws.yaml")
    types = config["available_node_types"]
    market = {name: kind["node_config"].get("InstanceMarketOptions", {}) for name, kind in types.items()}
    assert config["head_node_type"] == "head"
    assert market == {"head": {}, "gpu": {"MarketType": "spot"}}


def test_images_have_the_ray_of_the_lock() -> None:
    image = f"rayproject/ray:{locked_ray()}-py311-gpu"
    assert load("cluster-aws.yaml")["docker"]["image"] == image
    assert f"FROM {image}@${{BASE_DIGEST}}\n" in (ROOT / "k8s" / "Dockerfile").read_text()
    assert load("k8s/rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == locked_ray()


def pods() -> list[dict[str, Any]]:
    """The submitter's, the head's, and one of each group of workers."""
    spec = load("k8s/rayjob.yaml")["spec"]
    groups = (spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"])
    return [spec["submitterPodTemplate"]["spec"], *(group["template"]["spec"] for group in groups)]


def test_images_are_pinned_by_version_and_digest() -> None:
    for pod in pods():
        for container in pod["containers"]:
            assert re.fullmatch(r"[\w.\-/]+:\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", container["image"])
    dockerfile = (ROOT / "k8s" / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE_DIGEST$", dockerfile, re.MULTILINE)  # without a default: it must be given
    assert "--require-hashes -r /tmp/requirements.lock" in dockerfile
    assert "requirements-dev" not in dockerfile


def test_no_pod_has_more_rights_than_it_needs() -> None:
    for pod in pods():
        security = pod["securityContext"]
        assert security["runAsNonRoot"]
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {"name": "tmp", "emptyDir": {}} in pod["volumes"]
    autoscaler = load("k8s/rayjob.yaml")["spec"]["rayClusterSpec"]["autoscalerOptions"]
    for container in [autoscaler, *(container for pod in pods() for container in pod["containers"])]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


def test_the_rayjob_has_the_documented_fields_and_types() -> None:
    job = load("k8s/rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,46}[a-z0-9])?", job["metadata"]["name"])  # KubeRay's limit is 47
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    for values, fields in ((spec, JOB_FIELDS), (cluster, CLUSTER_FIELDS)):
        assert {name: type(value) for name, value in values.items()} == fields
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")
    assert spec["shutdownAfterJobFinishes"]
    # KubeRay takes both for a map of strings, and hands the values to `ray start`.
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert all(isinstance(value, str) for group in groups for value in group["rayStartParams"].values())
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert re.fullmatch(r"[a-z][-a-z0-9]*", group["groupName"])


def test_the_rayjob_asks_for_a_token_and_is_reachable_from_inside_only() -> None:
    cluster = load("k8s/rayjob.yaml")["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"


def test_the_rayjobs_pods_ask_for_resources_that_can_be_read_and_mount_what_they_declare() -> None:
    for pod in pods():
        (container,) = pod["containers"]
        resources = container["resources"]
        assert resources["requests"] == resources["limits"]
        assert {"cpu", "memory"} <= set(resources["limits"])
        assert all(QUANTITY.fullmatch(str(amount)) for amount in resources["limits"].values())
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    for pod in pods()[1:]:
        assert "/shared" in {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}


def test_the_rayjobs_entrypoint_is_a_job_whose_options_exist_and_whose_files_are_shared() -> None:
    spec = load("k8s/rayjob.yaml")["spec"]
    python, job, *options = shlex.split(spec["entrypoint"])
    assert python == "python"
    usage = subprocess.run([sys.executable, str(ROOT / job), "--help"], capture_output=True, text=True, check=True)
    names = [word for word in options if word.startswith("--")]
    assert all(re.search(rf"{name}\b", usage.stdout) for name in names)
    values = dict(zip(options[:-1:2], options[1::2], strict=True))
    assert all(values[name].startswith("/shared/") for name in ("--data", "--from", "--out"))
    groups = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert int(values["--workers"]) <= sum(group["maxReplicas"] for group in groups)
    assert yaml.safe_load(spec["runtimeEnvYAML"]) == {"working_dir": "file:///shared/stprivacy.zip"}
