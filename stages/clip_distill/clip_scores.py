"""CLIP's cosines of all train images and of the unions of their pairs; no label is read."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.checkpoints.clip import load_clip
from hoiclip.core import schema
from hoiclip.core.files import file_identity
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.images.store import ImageStore
from hoiclip.launch import launch
from hoiclip.methods.clip_distill.caches.classes import classes_of_object
from hoiclip.methods.clip_distill.caches.inputs import (
    CacheSettings,
    DistillPaths,
    detections_origin,
    read_images,
    scores_origin,
)
from hoiclip.methods.clip_distill.caches.pairs import make_pairs
from hoiclip.methods.clip_distill.caches.tables import (
    image_scores_table,
    read_detections,
    union_scores_table,
)
from hoiclip.methods.clip_distill.clip_scores import clip_scores_of_shards
from hoiclip.methods.clip_distill.view import clip_view
from hoiclip.parallel.device import prepare
from hoiclip.parallel.settings import settings as settings_of
from hoiclip.parallel.world import World
from hoiclip.passes import Content, ShardedPass, joined_tables, table_content
from hoiclip.resume.source_code import loaded_code
from hoiclip.stage_main import run_stage
from hoiclip.text_embeddings.table import read_text_embeddings

CHECKPOINTS = Path(".checkpoints/clip_distill")


def main(params: Path) -> dict | None:
    """Encodes every image and every union once."""
    launch()
    paths, settings = DistillPaths.of_project(), CacheSettings.read(params)
    world = World.of_environment()
    device = prepare(settings.passes.device, settings.passes.threads, local_rank=world.local_rank)
    vocabulary = Vocabulary.read(paths.vocabulary)
    images = read_images(paths.image_table)
    ids = images["image_id"].to_pylist()
    detections = read_detections(
        paths.detections, ids, vocabulary.num_objects, detections_origin(paths, settings)
    )
    pairs = [make_pairs(found, vocabulary, settings.detections.max_pairs) for found in detections]
    clip = load_clip(paths.clip).visual().to(device)
    classes = classes_of_object(vocabulary)
    text = read_text_embeddings(paths.text_embeddings, vocabulary)
    store, look = ImageStore(paths.images), clip_view(clip, settings.view)

    def works(shards: Sequence[range]) -> Iterator[Content]:
        made = clip_scores_of_shards(
            clip, look, text, images, store, pairs, classes, settings.passes, shards
        )
        for rows, (whole, unions) in zip(shards, made, strict=True):
            some = ids[rows.start : rows.stop]
            yield {
                "images": table_content(image_scores_table(some, whole)),
                "unions": table_content(union_scores_table(some, unions, classes)),
            }

    origin = scores_origin(paths, settings)
    key = {
        "origin": origin,
        "pass": settings_of(settings.passes),
        "files": file_identity([paths.images]),
    }
    shared = ShardedPass(CHECKPOINTS / "clip_scores", key, loaded_code(), world.join())
    with shared.locked():
        tables = shared.run_on(
            len(images),
            works,
            lambda shards: [joined_tables(name)(shards) for name in ("images", "unions")],
        )
        if tables is None:
            return None
        if shared.accepted:
            origin["accepted_code"] = shared.accepted
        for path, table in zip((paths.image_scores, paths.union_scores), tables, strict=True):
            schema.write_table(path, table, table.schema, origin)
        shared.delete()
    return {
        "images": len(images),
        "pairs": sum(map(len, pairs)),
        "images_without_pairs": sum(not len(each) for each in pairs),
    }


if __name__ == "__main__":
    run_stage("clip_distill/clip_scores", main)
