"""`python -m hoiclip.experiments.params`: what is wrong with values of params files.

Reads a JSON object, name to params file, on standard input and writes one of those that are
refused, name to what a stage would say, so that who must not import this package refuses a value
out of range before anything is queued.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from hoiclip.convert.weights import WeightsConfig
from hoiclip.core.config import from_mapping, read_params
from hoiclip.datasets.config import DatasetConfig
from hoiclip.errors import ParamsError
from hoiclip.evaluation.evaluation import EvaluateConfig
from hoiclip.inference.predict import PredictConfig
from hoiclip.inference.selection import SelectConfig
from hoiclip.methods.registry import METHODS, method_named
from hoiclip.model.config import SetPredictionConfig
from hoiclip.report.published import ReportConfig
from hoiclip.set_prediction.config import TrainConfig
from hoiclip.splits.splits import SplitsConfig
from hoiclip.stage_main import guarded
from hoiclip.text_embeddings.prompts import PromptTemplates
from hoiclip.verb_vectors.arithmetic import VerbVectorsConfig

SECTIONS = {
    "dataset": DatasetConfig,
    "weights": WeightsConfig,
    "splits": SplitsConfig,
    "text_embeddings": PromptTemplates,
    "verb_vectors": VerbVectorsConfig,
    "model": SetPredictionConfig,
    "train": TrainConfig,
    "select": SelectConfig,
    "predict": PredictConfig,
    "evaluate": EvaluateConfig,
    "report": ReportConfig,
    **{name: method_named(name).section for name in METHODS},
}
"""What reads each section of params.yaml."""


def check_params(path: Path) -> None:
    """Reads every section of a params file as its stage does.

    Raises:
        ParamsError: the file cannot be read, or a key or value is wrong.
    """
    params = read_params(path)
    for section, cls in SECTIONS.items():
        if section in params:
            from_mapping(cls, params[section], section)


def refused(files: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with those files of which something is."""
    found = {}
    for name, file in files.items():
        try:
            check_params(Path(file))
        except ParamsError as error:
            found[name] = str(error)
    return found


def main() -> None:
    """Standard input to standard output."""
    print(json.dumps(refused(json.load(sys.stdin))))


if __name__ == "__main__":
    sys.exit(guarded(main))
