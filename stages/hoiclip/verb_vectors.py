"""Verb vectors by visual semantic arithmetic on the training crops of seen classes."""

from pathlib import Path
from typing import Any

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.checkpoints.clip import load_clip
from hoiclip.core import schema
from hoiclip.core.config import load
from hoiclip.core.files import file_identity, sha256_file, sha256_files
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.images.store import ImageStore
from hoiclip.launch import launch
from hoiclip.parallel.device import prepare
from hoiclip.parallel.settings import settings
from hoiclip.parallel.world import World
from hoiclip.passes import ShardedPass
from hoiclip.resume.source_code import loaded_code
from hoiclip.stage_main import run_stage
from hoiclip.text_embeddings.table import read_text_embeddings
from hoiclip.verb_vectors.arithmetic import VerbVectorsConfig, verb_vectors_table
from hoiclip.verb_vectors.crops import rows_by_image
from hoiclip.verb_vectors.feature_sums import CropPass
from hoiclip.verb_vectors.table import read_verb_vectors

VOCABULARY = Path("data/vocabulary.parquet")
CLASSES = Path("data/splits/classes.parquet")
TRAIN = Path("data/splits/train")
IMAGES = Path("data/images/train")
CLIP = Path("caches/weights/clip.safetensors")
GIVEN = Path("caches/weights/verb_vectors.parquet")
OUT = Path("caches/verb_vectors.parquet")


def main(params: Path) -> dict | None:
    """Encodes the crops once and writes every representation."""
    launch()
    config = load(VerbVectorsConfig, "verb_vectors", params)
    world = World.of_environment()
    device = prepare(config.device, config.threads, local_rank=world.local_rank)
    vocabulary = Vocabulary.read(VOCABULARY)
    text = read_text_embeddings("caches/text_embeddings.parquet", vocabulary)
    encoder = load_clip(CLIP).to(device)
    width = schema.verb_vectors_schema(encoder.embed_dim)
    if len(schema.read_table(GIVEN)):
        if not world.is_main:
            return None
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
    crops = CropPass(
        rows_by_image(Annotations.read(TRAIN), seen),
        ImageStore(IMAGES).read,
        encoder,
        vocabulary,
        config.accumulation,
        config.batch_size,
        config.workers,
    )
    shared = ShardedPass(Path(".checkpoints/verb_vectors"), key, loaded_code(), world.join())
    with shared.locked():
        sums = shared.run_on(len(crops.images), crops.shards, crops.join)
        if sums is None:
            return None
        if shared.accepted:
            provenance["accepted_code"] = shared.accepted
        table = verb_vectors_table(sums, vocabulary, text.verb)
        schema.write_table(OUT, table, width, provenance)
        shared.delete()
    return {"unseen_classes": int((~seen).sum())}


if __name__ == "__main__":
    run_stage("hoiclip/verb_vectors", main)
