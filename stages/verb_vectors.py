"""Verb vectors by visual semantic arithmetic on the training crops of seen classes."""

from pathlib import Path

from hoiclip import schema
from hoiclip.clip_weights import load_clip
from hoiclip.config import load
from hoiclip.data.annotations import Annotations
from hoiclip.data.images import ImageStore
from hoiclip.entry import run_stage
from hoiclip.files import sha256_file
from hoiclip.progress import track
from hoiclip.runtime import prepare
from hoiclip.text_embeddings import read_text_embeddings
from hoiclip.verb_vectors import VerbVectorsConfig, sum_features, verb_vectors_table
from hoiclip.vocabulary import Vocabulary

CLASSES = Path("data/splits/classes.parquet")


def main(params: Path) -> dict:
    """Encodes the crops once and writes every representation."""
    config = load(VerbVectorsConfig, "verb_vectors", params)
    prepare("cpu", config.threads)
    vocabulary = Vocabulary.read("data/vocabulary.parquet")
    text = read_text_embeddings("caches/text_embeddings.parquet", vocabulary)
    encoder = load_clip("caches/weights/clip.safetensors")
    seen = schema.read_table(CLASSES, schema.CLASSES)["seen"].to_numpy()
    sums = sum_features(
        Annotations.read("data/splits/train"),
        ImageStore("data/images/train").read,
        encoder,
        vocabulary,
        seen,
        accumulation=config.accumulation,
        batch_size=config.batch_size,
        progress=lambda images: track(images, "crops"),
    )
    table = verb_vectors_table(sums, vocabulary, text.verb)
    provenance = {
        "clip": encoder.provenance,
        "accumulation": config.accumulation,
        "classes_sha256": sha256_file(CLASSES),
        "train_sha256": sha256_file("data/splits/train/interactions.parquet"),
    }
    width = schema.verb_vectors_schema(encoder.embed_dim)
    schema.write_table("caches/verb_vectors.parquet", table, width, provenance)
    return {"unseen_classes": int((~seen).sum())}


if __name__ == "__main__":
    run_stage("verb_vectors", main)
