"""Verb vectors by visual semantic arithmetic on the training crops of seen classes."""

from pathlib import Path
from typing import Any

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip import schema
from hoiclip.clip.text_embeddings import read_text_embeddings
from hoiclip.clip.weights import load_clip
from hoiclip.data.annotations import Annotations
from hoiclip.data.images import ImageStore
from hoiclip.progress import track
from hoiclip.resume.source_code import loaded_code
from hoiclip.resume.state_file import settings
from hoiclip.runtime import prepare
from hoiclip.util.config import load
from hoiclip.util.files import file_identity, sha256_file, sha256_files
from hoiclip.util.stage_main import run_stage
from hoiclip.verb_vectors.arithmetic import VerbVectorsConfig, verb_vectors_table
from hoiclip.verb_vectors.feature_sums import SumsFile, sum_features
from hoiclip.verb_vectors.table import read_verb_vectors
from hoiclip.vocabulary import Vocabulary

VOCABULARY = Path("data/vocabulary.parquet")
CLASSES = Path("data/splits/classes.parquet")
TRAIN = Path("data/splits/train")
IMAGES = Path("data/images/train")
CLIP = Path("caches/weights/clip.safetensors")
GIVEN = Path("caches/weights/verb_vectors.parquet")
OUT = Path("caches/verb_vectors.parquet")


def main(params: Path) -> dict:
    """Encodes the crops once and writes every representation."""
    config = load(VerbVectorsConfig, "verb_vectors", params)
    device = prepare(config.device, config.threads)
    vocabulary = Vocabulary.read(VOCABULARY)
    text = read_text_embeddings("caches/text_embeddings.parquet", vocabulary)
    encoder = load_clip(CLIP).to(device)
    width = schema.verb_vectors_schema(encoder.embed_dim)
    if len(schema.read_table(GIVEN)):
        read_verb_vectors(GIVEN, "arithmetic", vocabulary.num_verbs)
        origin = schema.read_provenance(GIVEN)
        schema.write_table(OUT, schema.read_table(GIVEN, width), width, origin)
        return {"taken": origin}
    seen = schema.read_table(CLASSES, schema.CLASSES)["seen"].to_numpy()
    provenance: dict[str, Any] = {
        "clip": encoder.provenance,
        "accumulation": config.accumulation,
        "classes_sha256": sha256_file(CLASSES),
        "train_sha256": sha256_files(sorted(TRAIN.glob("*.parquet"))),
    }
    key = {
        "verb_vectors": settings(config),
        "files": file_identity([VOCABULARY, CLASSES, TRAIN, IMAGES, CLIP]),
    }
    resume = SumsFile(Path(".checkpoints/verb_vectors"), key, loaded_code())
    with resume.locked():
        sums = sum_features(
            Annotations.read(TRAIN),
            ImageStore(IMAGES).read,
            encoder,
            vocabulary,
            seen,
            accumulation=config.accumulation,
            batch_size=config.batch_size,
            workers=config.workers,
            resume=resume,
            progress=lambda images, total: track(images, "crops", total),
        )
        if resume.accepted:
            provenance["accepted_code"] = resume.accepted
        table = verb_vectors_table(sums, vocabulary, text.verb)
        schema.write_table(OUT, table, width, provenance)
        resume.delete()
    return {"unseen_classes": int((~seen).sum())}


if __name__ == "__main__":
    run_stage("hoiclip/verb_vectors", main)
