"""The ways in: what meets a case in the folder that it stands in, and gives an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import test_reader_fuzz

from hoiclip.cli import main as command
from hoiclip.clip_weights import load_clip
from hoiclip.config import load
from hoiclip.data.archives import unpack
from hoiclip.data.sources import prepare as sources
from hoiclip.data.sources.config import DatasetConfig
from hoiclip.data.splits import SplitsConfig
from hoiclip.entry import fail
from hoiclip.errors import HoiclipError
from hoiclip.model.config import ModelConfig
from hoiclip.prediction import PredictConfig
from hoiclip.prompts import PromptTemplates
from hoiclip.training.config import TrainConfig
from hoiclip.verb_vectors import VerbVectorsConfig
from hoiclip.weights import WeightsConfig
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


def call_process(case) -> int:
    """The command line in a process of its own; other doors have none."""
    if case.door != "hoiclip":
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
        return fail(error)
    return 0


def call_reader(case) -> int:
    """One of the readers that `tests/data/readers/test_reader_fuzz.py` knows."""
    name, drop = case.arguments
    read, _ = test_reader_fuzz.READERS[name]

    def call() -> None:
        tables, vocabulary, _ = read(Path.cwd(), case.files["input"], drop == "1")
        tables.check("tables", vocabulary)

    return typed(call)


def call_params(_) -> int:
    """Every section as its stage loads it, and what would be fetched."""
    sections = {
        "splits": SplitsConfig, "model": ModelConfig, "predict": PredictConfig,
        "text_embeddings": PromptTemplates, "train": TrainConfig, "evaluate": EvaluateConfig,
        "verb_vectors": VerbVectorsConfig, "report": ReportConfig,
    }  # fmt: skip

    def call() -> None:
        sources.plan(load(DatasetConfig, "dataset", "params.yaml"))
        load(WeightsConfig, "weights", "params.yaml").plan()
        for name, section in sections.items():
            load(section, name, "params.yaml")

    return typed(call)


def call_clip(_) -> int:
    """A CLIP file as the stages after `weights` read it."""
    return typed(lambda: load_clip("clip.safetensors"))


def call_unpack(_) -> int:
    """An archive as downloads are unpacked."""
    return typed(lambda: unpack("archive", "out", limit_bytes=1 << 20))


DOORS = {
    "hoiclip": call_hoiclip,
    "process": call_process,
    "reader": call_reader,
    "params": call_params,
    "clip": call_clip,
    "unpack": call_unpack,
}
