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

METHOD = "hoiclip"
TRAIN = f"methods/{METHOD}/dvc.yaml:train"
_LOCKS = ("dvc.lock", f"methods/{METHOD}/dvc.lock")
CURE = ("git", "checkout", "--quiet", *_LOCKS)
SECONDS_BETWEEN_LOOKS = 0.1


def call(folder: Path, *command: str) -> str:
    """Runs a command that must succeed; returns its output."""
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


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

    def __init__(self, base: Path, folder: Path, target: str | None) -> None:
        call(base.parent, "git", "clone", "--quiet", str(base), str(folder))
        self.folder, self._target = folder, target
        self._said = folder.parent / f"{folder.name}.log"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._env = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))} | {
            "PATH": path,
            "PYTHONPATH": str(folder),
            "OMP_NUM_THREADS": "1",
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
            call(self.folder, *CURE)
        command = [sys.executable, "-m", "dvc", "repro", *filter(None, [self._target])]
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
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            while True:
                os.killpg(self._process.pid, 0)
                time.sleep(0.02)
        return self._process.wait() == -signal.SIGKILL

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
        return self.place() == TRAIN and any(self.folder.glob(".checkpoints/*/state.pt"))

    def outs(self) -> dict[str, dict[str, str]]:
        """Hashes in the lock files, by stage and path; of a half file none."""
        found = {}
        for file in _LOCKS:
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
    left = seconds.get(TRAIN, 0.0) - (first_state or 0.0)
    return Reference((clone.folder / "metrics.json").read_bytes(), outs, seconds, left)
