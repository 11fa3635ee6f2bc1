"""Annotations and images of the data set, in the one schema."""

from pathlib import Path

from hoiclip.config import load
from hoiclip.data.toy import PARTITIONS, ToyConfig, toy_vocabulary, write_toy_partition
from hoiclip.entry import run_stage


def main(params: Path) -> dict:
    """Renders the toy world."""
    config = load(ToyConfig, "dataset", params)
    sizes = {"train": config.train_images, "test": config.test_images}
    toy_vocabulary().write("data/vocabulary.parquet", {"source": "toy"})
    for partition in PARTITIONS:
        write_toy_partition(
            partition,
            seed=config.seed,
            num_images=sizes[partition],
            annotations=Path("data/annotations") / partition,
            images=Path("data/images") / partition,
            workers=config.workers,
        )
    return sizes


if __name__ == "__main__":
    run_stage("dataset", main)
