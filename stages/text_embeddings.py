"""CLIP text embeddings of HOI classes, objects and verbs."""

from pathlib import Path

from hoiclip.config import load
from hoiclip.entry import run_stage
from hoiclip.files import sha256_file
from hoiclip.prompts import PromptTemplates
from hoiclip.text_embeddings import write_text_embeddings
from hoiclip.vocabulary import Vocabulary
from hoiclip.weights import WeightsConfig

VOCABULARY = Path("data/vocabulary.parquet")


def main(params: Path) -> None:
    """Embeds every prompt of the vocabulary."""
    templates = load(PromptTemplates, "text_embeddings", params)
    weights = load(WeightsConfig, "weights", params)
    write_text_embeddings(
        "caches/text_embeddings.parquet",
        Vocabulary.read(VOCABULARY),
        templates,
        weights.load_clip(),
        vocabulary_sha256=sha256_file(VOCABULARY),
    )


if __name__ == "__main__":
    run_stage("text_embeddings", main)
