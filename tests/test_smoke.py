"""The whole pipeline on the smoke profile: it runs, repeats itself, and survives a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WRITTEN = ("metrics.json", "report", "runs")
METHOD = "methods/hoiclip/dvc.yaml"
TRAIN, PREDICT = f"{METHOD}:train", f"{METHOD}:predict"


def dvc(project: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs dvc in the project with the environment's own Python first."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(
        command, cwd=project, env=environment(), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}


def git(project: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with the smoke profile, run to the report."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs the project's git repository")
    folder = tmp_path_factory.mktemp("smoke")
    files = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in files:
        if name.startswith(WRITTEN) or name.endswith("dvc.lock") or not (ROOT / name).is_file():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    subprocess.run(
        [sys.executable, "-m", "pipelines.profile", "smoke"],
        cwd=folder,
        env=environment(),
        check=True,
    )
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "smoke")
    dvc(folder, "repro")
    return folder


def metrics(project: Path) -> dict:
    return json.loads((project / "metrics.json").read_text())


def test_every_stage_ran_to_the_report(project: Path) -> None:
    found = metrics(project)
    assert found["protocol"] == "hico"
    assert {"full", "rare", "non_rare"} <= set(found["default"])
    assert 0 <= found["default"]["full"] <= 100
    page = (project / "report/index.html").read_text()
    assert "<html" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_second_run_does_nothing(project: Path) -> None:
    said = dvc(project, "repro").stdout
    assert "Running stage" not in said
    assert "up to date" in said


def test_a_fresh_clone_is_up_to_date_and_renders_the_same_page(
    project: Path, tmp_path: Path
) -> None:
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "results")
    clone = tmp_path / "clone"
    git(project, "clone", "--quiet", str(project), str(clone))
    said = dvc(clone, "repro", "--allow-missing", "--dry").stdout
    assert "Running stage" not in said
    assert "up to date" in said
    dvc(clone, "cache", "dir", "--local", str(project / ".dvc/cache"))
    dvc(clone, "checkout", "dvc.yaml", METHOD)
    dvc(clone, "repro", "--single-item", "--force", "--no-run-cache", "report")
    # Neither the page nor its hash in a lock file.
    assert git(clone, "status", "--porcelain") == ""


def test_the_same_seed_gives_the_same_metrics(project: Path) -> None:
    before = metrics(project)
    for stage in (TRAIN, PREDICT, "evaluate"):
        dvc(project, "repro", "--single-item", "--force", "--no-run-cache", stage)
    assert metrics(project) == before


def test_a_killed_training_goes_on_to_the_same_metrics(project: Path) -> None:
    before = metrics(project)
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", "--force", TRAIN]
    running = subprocess.Popen(
        command,
        cwd=project,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 180
    while not list(project.glob(".checkpoints/*/state.pt")):
        assert running.poll() is None, "training ended before its first epoch was saved"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    (project / "runs/hoiclip/train/model.safetensors").unlink(missing_ok=True)

    said = dvc(project, "repro", "--force", "--single-item", "--no-run-cache", TRAIN)
    assert "going on after epoch 1" in said.stdout + said.stderr
    for stage in (PREDICT, "evaluate"):
        dvc(project, "repro", "--single-item", "--force", "--no-run-cache", stage)
    assert metrics(project) == before
    assert not list(project.glob(".checkpoints/*/state.pt"))
