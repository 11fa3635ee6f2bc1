"""The ways in: what meets a case in the folder that it stands in, and gives an exit code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import state_inputs
import test_reader_fuzz

from hoiclip.checkpoints.clip import load_clip
from hoiclip.cli import main as command
from hoiclip.convert.weights import WeightsConfig
from hoiclip.core.config import load
from hoiclip.datasets import prepare as sources
from hoiclip.datasets.config import DatasetConfig
from hoiclip.errors import HoiclipError
from hoiclip.fetch.archives import unpack
from hoiclip.formats.predictions import matlab_cells
from hoiclip.inference.predict import PredictConfig
from hoiclip.inference.selection import SelectConfig
from hoiclip.methods.hoiclip.model.config import HoiclipConfig
from hoiclip.model.config import SetPredictionConfig
from hoiclip.set_prediction.config import TrainConfig
from hoiclip.splits.splits import SplitsConfig
from hoiclip.stage_main import fail
from hoiclip.text_embeddings.prompts import PromptTemplates
from hoiclip.training.state import ResumeFolder
from hoiclip.verb_vectors.arithmetic import VerbVectorsConfig
from pipelines.errors import PipelineError
from pipelines.overrides import apply_overrides
from stages.evaluate import EvaluateConfig
from stages.report import ReportConfig

ROOT = Path(__file__).resolve().parents[2]
LONGEST_PROCESS = 90  # seconds, of which it imports for many on a busy machine


def call_hoiclip(case) -> int:
    """The command line, in this process."""
    try:
        return command(case.arguments)
    except SystemExit as exit_:
        return exit_.code


def call_matlab(case) -> int:
    """The command line, which reads Matlab's files in a fork of this process."""

    def run(command, **options):
        with mock.patch.object(test_reader_fuzz.mat_structs, "write", matlab_cells.write):
            return test_reader_fuzz.run_in_fork(command, **options)

    with mock.patch.object(subprocess, "run", run):
        return call_hoiclip(case)


def call_process(case) -> int:
    """The command line in a process of its own; other doors have none."""
    if case.door not in ("hoiclip", "matlab"):
        return DOORS[case.door](case)
    done = subprocess.run(
        [sys.executable, "-m", "hoiclip.cli", *case.arguments],
        capture_output=True, text=True, errors="replace", check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=LONGEST_PROCESS,
    )  # fmt: skip
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    return done.returncode


def typed(call: Callable[[], object]) -> int:
    """What the command line makes of an error."""
    try:
        call()
    except HoiclipError as error:
        if len(str(error).splitlines()) != 1:
            raise ValueError("a message of several lines") from error
        return fail(error)
    return 0


def call_reader(case) -> int:
    """One of the readers that `tests/formats/annotations/test_reader_fuzz.py` knows."""
    name, drop = case.arguments
    read, _ = test_reader_fuzz.READERS[name]

    def call() -> None:
        tables, vocabulary, _ = read(Path.cwd(), case.files["input"], drop == "1")
        tables.check("tables", vocabulary)

    return typed(call)


def call_params(_) -> int:
    """Every section as its stage loads it, and what would be fetched."""
    sections = {
        "splits": SplitsConfig, "model": SetPredictionConfig, "hoiclip": HoiclipConfig,
        "select": SelectConfig, "predict": PredictConfig,
        "text_embeddings": PromptTemplates, "train": TrainConfig, "evaluate": EvaluateConfig,
        "verb_vectors": VerbVectorsConfig, "report": ReportConfig,
    }  # fmt: skip

    def call() -> None:
        sources.plan(load(DatasetConfig, "dataset", "params.yaml"))
        load(WeightsConfig, "weights", "params.yaml").plan()
        for name, section in sections.items():
            load(section, name, "params.yaml")

    return typed(call)


def call_overrides(case) -> int:
    """A run's overrides, and what its stages then load."""
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    try:
        apply_overrides(".", case.arguments)
    except PipelineError as error:
        if Path("params.yaml").read_bytes() != (ROOT / "params.yaml").read_bytes():
            raise ValueError("refused overrides have changed params.yaml") from error
        Path("params.yaml").unlink()
        return fail(HoiclipError(str(error).partition("\n")[0]))
    code = call_params(case)
    Path("params.yaml").unlink()
    return code


def call_state(case) -> int:
    """The state of interrupted work, and what it is for."""
    work = state_inputs.WORK

    def training() -> None:
        parts = state_inputs.training()
        folder = ResumeFolder(*work)
        if (state := folder.read()) is None:
            return
        progress = folder.restore(state, *parts)
        state_inputs.step(*parts)
        list(zip(*progress.history, strict=True))
        range(progress.epoch, progress.step, int(progress.seconds) or 1)

    def sums() -> None:
        state_inputs.sums_pass().run(1, lambda rows: state_inputs.sums(), state_inputs.join)

    return typed({"training": training, "sums": sums}[case.arguments[0]])


def call_clip(_) -> int:
    """A CLIP file as the stages after `weights` read it."""
    return typed(lambda: load_clip("clip.safetensors"))


def call_unpack(_) -> int:
    """An archive as downloads are unpacked."""
    return typed(lambda: unpack("archive", "out", limit_bytes=1 << 20))


DOORS = {
    "hoiclip": call_hoiclip,
    "process": call_process,
    "matlab": call_matlab,
    "reader": call_reader,
    "params": call_params,
    "overrides": call_overrides,
    "state": call_state,
    "clip": call_clip,
    "unpack": call_unpack,
}
