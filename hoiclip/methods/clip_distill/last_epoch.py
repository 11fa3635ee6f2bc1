"""The model file for inference: the last epoch's weights, and how their scores are joined."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from hoiclip.contract.model_file import load_detector, only
from hoiclip.methods.clip_distill.model.method import ClipDistillMethod


def select_last(params: Path, train: Path, out: Path) -> dict[str, Any]:
    """Writes the model file of the last epoch, with the scoring of the params, into `out`.

    Nothing is chosen: that would take labels.

    Args:
        params: the params file.
        train: folder that training wrote.
        out: folder of the result.

    Returns:
        The epoch and the scoring.

    Raises:
        HoiclipError: a param or file is wrong.
    """
    (scoring,) = ClipDistillMethod.scorings(params)
    detector = load_detector(train / "model.safetensors", only(ClipDistillMethod))
    detector.method.scoring = scoring
    detector.save(out / "model.safetensors")
    return {"epoch": detector.provenance["epoch"], "scoring": asdict(scoring)}
