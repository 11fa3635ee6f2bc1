"""CLIP text embeddings of HOI classes, objects and verbs."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.checkpoints.clip import load_clip
from hoiclip.core.config import load
from hoiclip.core.files import sha256_file
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.stage_main import run_stage
from hoiclip.text_embeddings.prompts import PromptTemplates
from hoiclip.text_embeddings.table import write_text_embeddings

VOCABULARY = Path("data/vocabulary.parquet")
CLIP = Path("caches/weights/clip.safetensors")


def main(params: Path) -> None:
    """Embeds every prompt of the vocabulary."""
    templates = load(PromptTemplates, "text_embeddings", params)
    write_text_embeddings(
        "caches/text_embeddings.parquet",
        Vocabulary.read(VOCABULARY),
        templates,
        load_clip(CLIP),
        vocabulary_sha256=sha256_file(VOCABULARY),
    )


if __name__ == "__main__":
    run_stage("text_embeddings", main)
