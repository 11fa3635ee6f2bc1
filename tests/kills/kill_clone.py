"""A clone of the project in which `dvc repro` is started, looked at and killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_TO_END = 0.02


def call(folder: Path, *command: str) -> str:
    """Runs a command that must succeed; returns its output."""
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def train_stage(method: str) -> str:
    """The training stage of a method, as dvc names it."""
    return f"methods/{method}/dvc.yaml:train"


def groups_of(folder: Path) -> set[int]:
    """Process groups in which something runs whose modules come from the folder.

    They are several: torchrun gives every process that it starts a session of its own.
    """
    mark = f"PYTHONPATH={folder}".encode()
    found = set()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        # Of others it cannot be read, and what has ended has none.
        with suppress(OSError):
            if mark in environment.read_bytes().split(b"\0"):
                found.add(os.getpgid(int(environment.parent.name)))
    return found


def kill_run(process: subprocess.Popen, folder: Path) -> bool:
    """Kills a run and all that it started, and waits until nothing of it is left.

    Args:
        process: what was started first, in a session of its own.
        folder: its `PYTHONPATH`, by which all are known.

    Returns:
        Whether the process still ran.
    """
    groups = {process.pid} | groups_of(folder)
    while groups:
        for group in groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        process.wait()
        for group in groups:
            with suppress(ProcessLookupError):
                while True:
                    os.killpg(group, 0)
                    time.sleep(_SECONDS_TO_END)
        groups = groups_of(folder)
    return process.returncode == -signal.SIGKILL


@dataclass(frozen=True)
class Repro:
    """What every clone runs.

    Attributes:
        method: whose stages.
        processes: of a training, and of a pass over images.
        target: a stage, or None for the whole pipeline.
    """

    method: str = "hoiclip"
    processes: int = 1
    target: str | None = None

    @property
    def train(self) -> str:
        """The method's training stage."""
        return train_stage(self.method)

    @property
    def locks(self) -> tuple[str, str]:
        """The lock files that it writes."""
        return "dvc.lock", f"methods/{self.method}/dvc.lock"


@dataclass
class Reference:
    """What the run that nothing disturbed gave.

    Attributes:
        metrics: bytes of metrics.json.
        outs: hashes in the lock files, by stage and path.
        seconds: that dvc took to start, as `start`, and each stage, in their order.
        after_first_epoch: seconds from training's first saved state to its end.
    """

    metrics: bytes
    outs: dict[str, dict[str, str]]
    seconds: dict[str, float]
    after_first_epoch: float


class Clone:
    """A clone in which `dvc repro` is started as often as it takes."""

    def __init__(self, base: Path, folder: Path, repro: Repro) -> None:
        call(base.parent, "git", "clone", "--quiet", str(base), str(folder))
        self.folder, self.repro = folder, repro
        self._said = folder.parent / f"{folder.name}.log"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._env = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))} | {
            "PATH": path,
            "PYTHONPATH": str(folder),
            "OMP_NUM_THREADS": "1",
            "HOICLIP_PROCESSES": str(repro.processes),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site"),
        }
        self._process: subprocess.Popen | None = None

    def start(self) -> bool:
        """Starts it as `make repro` does; returns whether lock files had to be checked out."""
        check = [sys.executable, "-m", "pipelines.lock"]
        options = {"cwd": self.folder, "env": self._env}
        half = subprocess.run(check, **options, capture_output=True, check=False).returncode != 0
        if half:
            call(self.folder, "git", "checkout", "--quiet", *self.repro.locks)
        command = [sys.executable, "-m", "dvc", "repro", *filter(None, [self.repro.target])]
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                command, **options, stdout=said, stderr=said, start_new_session=True
            )
        return half

    def ended(self) -> bool:
        """Whether it ended by itself."""
        return self._process.poll() is not None

    def kill(self) -> bool:
        """Kills every process of the run, waits until none is left; whether dvc still ran."""
        return kill_run(self._process, self.folder)

    def failure(self) -> str | None:
        """Why it ended by itself without success."""
        code = self._process.returncode
        lines = self._said.read_text(errors="replace").strip().splitlines() or ["said nothing"]
        # What the stage says of itself tells more than what dvc says of the stage.
        said = [*(line for line in lines if re.match(r"error: |\w*Error: ", line)), lines[-1]]
        return f"dvc repro ended with exit code {code}: {' | '.join(said)}" if code else None

    def place(self) -> str:
        """The stage it is at, `after` one whose result is in a lock file, or `start`."""
        found = re.findall(
            r"^(?:Running stage '([^']+)'|(Updating lock file))",
            self._said.read_text(errors="replace"), re.MULTILINE,
        )  # fmt: skip
        stages = [stage for stage, _ in found if stage]
        if not stages:
            return "start"
        return f"after {stages[-1]}" if found[-1][1] else stages[-1]

    def trains_on(self) -> bool:
        """Whether it is in training and has saved an epoch."""
        return self.place() == self.repro.train and any(self.folder.glob(".checkpoints/*/state.pt"))

    def outs(self) -> dict[str, dict[str, str]]:
        """Hashes in the lock files, by stage and path; of a half file none."""
        found = {}
        for file in self.repro.locks:
            folder = Path(file).parent
            prefix = "" if folder == Path() else f"{folder}/dvc.yaml:"
            with suppress(yaml.YAMLError, KeyError, TypeError):
                lock = yaml.safe_load((self.folder / file).read_text(encoding="utf-8"))
                found |= {
                    f"{prefix}{name}": {out["path"]: out["md5"] for out in stage["outs"]}
                    for name, stage in lock["stages"].items()
                }
        return found

    def done(self, outs: dict[str, dict[str, str]]) -> set[str]:
        """Stages of which the lock files say the hashes given, and whose files are there."""
        return {
            name
            for name, found in self.outs().items()
            if found == outs.get(name) and all((self.folder / path).exists() for path in found)
        }

    def differences(self, reference: Reference) -> list[str]:
        """What differs from the undisturbed run now that this one has ended by itself."""
        found = []
        if (self.folder / "metrics.json").read_bytes() != reference.metrics:
            found.append("metrics.json differs")
        outs = self.outs()
        for stage, expected in reference.outs.items():
            others = outs.get(stage, {})
            found += [
                f"{stage}: {path} differs"
                for path in expected
                if expected[path] != others.get(path)
            ]
        left = [*self.folder.rglob("*.part"), *self.folder.rglob(".checkpoints/**/state.pt")]
        return found + [f"{path.relative_to(self.folder)} is left" for path in left]

    def delete(self) -> None:
        """Ends what runs and removes the clone."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder)


def run_undisturbed(clone: Clone) -> Reference:
    """Runs the pipeline once; raises RuntimeError where it fails."""
    seconds: dict[str, float] = {}
    first_state = None
    clone.start()
    while not clone.ended():
        time.sleep(SECONDS_BETWEEN_LOOKS)
        stage = clone.place().removeprefix("after ")
        seconds[stage] = seconds.get(stage, 0.0) + SECONDS_BETWEEN_LOOKS
        if first_state is None and clone.trains_on():
            first_state = seconds[stage]
    if failure := clone.failure():
        raise RuntimeError(failure)
    outs = {stage: clone.outs()[stage] for stage in seconds if stage != "start"}
    left = seconds.get(clone.repro.train, 0.0) - (first_state or 0.0)
    return Reference((clone.folder / "metrics.json").read_bytes(), outs, seconds, left)
