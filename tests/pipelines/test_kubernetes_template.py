"""What a run on Kubernetes asks the cluster for, and whether Prefect's own class takes it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.client.schemas.objects import FlowRun
from prefect.utilities.templating import apply_values

from pipelines.workspace import environment

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
TEMPLATE = json.loads((FOLDER / "base-job-template.json").read_text())
FILE = yaml.safe_load((FOLDER / "prefect.yaml").read_text())


def variables() -> dict[str, Any]:
    return TEMPLATE["variables"]["properties"]


def test_every_placeholder_is_a_variable_and_every_variable_is_used() -> None:
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(TEMPLATE["job_configuration"])))
    assert used == set(variables())


def test_deployments_set_variables_of_the_template() -> None:
    for deployment in FILE["deployments"]:
        assert set(deployment["work_pool"]["job_variables"]) <= set(variables())
        path, _, name = deployment["entrypoint"].partition(":")
        assert f"def {name}(" in (ROOT / path).read_text()
    flows = {each["entrypoint"].partition(":")[2]: each for each in FILE["deployments"]}
    assert flows["reproduce"]["work_pool"]["job_variables"]["gpus"] == 1
    assert flows["sweep"]["work_pool"]["job_variables"]["gpus"] == 0
    assert flows["sweep"]["parameters"]["runs"] == f"reproduce/{flows['reproduce']['name']}"


def test_runs_clone_and_share_the_cache_as_on_a_process_pool() -> None:
    process = yaml.safe_load((ROOT / "prefect.yaml").read_text())["pull"]
    clone, workspace, folder = FILE["pull"]
    token = next(iter(clone.values())).pop("access_token")
    assert token == "{{ prefect.blocks.secret.hoiclip-git-token }}"
    script = next(iter(workspace.values()))
    mounts = TEMPLATE["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    paths = [mount["mountPath"] for mount in mounts["containers"][0]["volumeMounts"]]
    assert script["script"] == (
        "python -m pipelines.workspace /cache --checkpoints /cache/checkpoints"
    )
    assert "/cache" in paths
    script["script"] = (
        'python -m pipelines.workspace "{{ cache.stdout }}" '
        '--checkpoints "{{ checkpoints.stdout }}"'
    )
    assert [clone, workspace, folder] == process


def test_no_secret_stands_in_the_files() -> None:
    for path in FOLDER.iterdir():
        for line in path.read_text().splitlines():
            if re.search(r"token|password|secret", line, re.IGNORECASE) and ":" in line:
                assert "prefect.blocks.secret." in line or line.lstrip().startswith("#"), line


def test_the_image_copies_files_that_there_are_and_that_are_sent_to_it() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    sent = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    assert set(copied) == sent
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize(("gpus", "processes"), [(0, "1"), (1, "1"), (4, "4"), (16, "16")])
def test_a_training_has_a_process_for_each_gpu(
    gpus: int, processes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = TEMPLATE["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    (variable,) = pod["containers"][0]["env"]
    # A value that is a placeholder and nothing else becomes a number, which Kubernetes refuses.
    value = apply_values(variable, {"gpus": gpus})["value"]
    assert isinstance(value, str)
    monkeypatch.delenv("HOICLIP_PROCESSES", raising=False)
    assert "HOICLIP_PROCESSES" not in environment(ROOT)
    monkeypatch.setenv(variable["name"], value)
    assert environment(ROOT)["HOICLIP_PROCESSES"] == processes
    monkeypatch.setenv("HOICLIP_PROCESSES", "2")
    assert environment(ROOT)["HOICLIP_PROCESSES"] == "2"
    # The environment that a person gives goes by the configuration, before this list.
    assert TEMPLATE["job_configuration"]["env"] == "{{ env }}"


def test_the_image_has_what_runs_call() -> None:
    text = (ROOT / "Dockerfile").read_text()
    installed = re.search(r"apt-get install --yes --no-install-recommends (.*) ", text)[1].split()
    # Of the compiler torch.compile needs the headers, too.
    assert {"git", "gcc", "libc6-dev"} <= set(installed)


def configured(**values: Any) -> Any:
    worker = pytest.importorskip("prefect_kubernetes.worker", reason="needs the extra kubernetes")

    async def make() -> Any:
        # A client would be asked for blocks, of which the values have none; without one, Prefect
        # starts a server.
        client = SimpleNamespace(_loop=asyncio.get_running_loop())
        return await worker.KubernetesWorkerJobConfiguration.from_template_and_values(
            TEMPLATE, values, client=client
        )

    configuration = asyncio.run(make())
    configuration.prepare_for_flow_run(FlowRun(id=uuid4(), flow_id=uuid4(), name="a run"))
    return configuration


def test_prefects_own_class_takes_the_values() -> None:
    configuration = configured(image="registry/hoiclip:1", node_selector={"gpu": "h100"})
    manifest = configuration.job_manifest
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "registry/hoiclip:1"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["resources"]["requests"]["nvidia.com/gpu"] == 1
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert pod["nodeSelector"] == {"gpu": "h100"}
    assert pod["restartPolicy"] == "Never"
    claims = {each["name"]: each.get("persistentVolumeClaim") for each in pod["volumes"]}
    assert claims["dvc-cache"] == {"claimName": "hoiclip-dvc-cache"}
    assert manifest["spec"]["backoffLimit"] == 0
    assert any(each["name"] == "PREFECT__FLOW_RUN_ID" for each in container["env"])


@pytest.mark.parametrize("deployment", FILE["deployments"], ids=lambda each: each["entrypoint"])
def test_prefects_own_class_takes_each_deployments_values(deployment: dict[str, Any]) -> None:
    values = {**deployment["work_pool"]["job_variables"], "image": "hoiclip:1"}
    (container,) = configured(**values).job_manifest["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == values["gpus"]
    assert container["resources"]["limits"]["memory"] == values.get("memory", "32Gi")
