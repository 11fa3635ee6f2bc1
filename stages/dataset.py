"""Annotations and images of the data set, in the one schema."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.core.config import load
from hoiclip.datasets import prepare
from hoiclip.datasets.config import DatasetConfig
from hoiclip.datasets.summary import summary_lines
from hoiclip.fetch.stage_exit import exits_by_network
from hoiclip.stage_main import run_stage


def plan(params: Path) -> list[str]:
    """What `main` needs: which files are there, and how the others come."""
    return prepare.plan(load(DatasetConfig, "dataset", params))


def main(params: Path) -> dict:
    """Renders the toy world, or checks and converts a real data set."""
    summary = prepare.prepare(load(DatasetConfig, "dataset", params), Path("data"))
    print("\n".join(summary_lines(summary)))
    return summary


if __name__ == "__main__":
    run_stage("dataset", exits_by_network(main), plan)
