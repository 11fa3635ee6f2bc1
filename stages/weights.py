"""Pretrained weights, fetched, checked and in this project's layout."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.convert.weights import WeightsConfig
from hoiclip.core.config import load
from hoiclip.fetch.stage_exit import exits_by_network
from hoiclip.stage_main import run_stage

OUT = Path("caches/weights")


def plan(params: Path) -> list[str]:
    """What `main` would fetch."""
    config = load(WeightsConfig, "weights", params)
    return [f"{config.raw}/{step}" for step in config.plan()]


def main(params: Path) -> dict:
    """Fetches what is absent; converts released files."""
    config = load(WeightsConfig, "weights", params)
    return config.prepare(
        OUT / "clip.safetensors", OUT / "detector.safetensors", OUT / "verb_vectors.parquet"
    )


if __name__ == "__main__":
    run_stage("weights", exits_by_network(main), plan)
