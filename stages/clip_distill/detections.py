"""Detections in all train images, by the pretrained detector; no label is read."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.batches.loading import by_size
from hoiclip.core import schema
from hoiclip.core.files import file_identity
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.images.store import ImageStore
from hoiclip.launch import launch
from hoiclip.methods.clip_distill.caches.inputs import (
    CacheSettings,
    DistillPaths,
    detections_origin,
    read_images,
)
from hoiclip.methods.clip_distill.caches.tables import detections_table
from hoiclip.methods.clip_distill.detect import ObjectDetector, detect_shards
from hoiclip.parallel.device import prepare
from hoiclip.parallel.settings import settings as settings_of
from hoiclip.parallel.world import World
from hoiclip.passes import Content, ShardedPass, in_order, joined_tables, table_content
from hoiclip.progress import say
from hoiclip.resume.source_code import loaded_code
from hoiclip.stage_main import run_stage

CHECKPOINTS = Path(".checkpoints/clip_distill")


def main(params: Path) -> dict | None:
    """Detects and keeps what may be half of a pair."""
    launch()
    paths, settings = DistillPaths.of_project(), CacheSettings.read(params)
    rule, caches = settings.detections, settings.passes
    world = World.of_environment()
    device = prepare(caches.device, caches.threads, local_rank=world.local_rank)
    vocabulary = Vocabulary.read(paths.vocabulary)
    images = read_images(paths.image_table)
    # Shards are cut out of this order, in which little is padded.
    alike = by_size(images, rule.transforms)
    ids = alike["image_id"].to_pylist()
    detector = ObjectDetector.read(
        paths.detector, settings.detector, rule.num_queries, vocabulary
    ).to(device)
    unknown = ", ".join(detector.unknown)
    if unknown:
        say(f"the detector does not know, so that no pair has them: {unknown}")
    store, origin = ImageStore(paths.images), detections_origin(paths, settings)

    def works(shards: Sequence[range]) -> Iterator[Content]:
        made = detect_shards(detector, alike, store, rule, caches, shards)
        for rows, found in zip(shards, made, strict=True):
            table = detections_table(ids[rows.start : rows.stop], found)
            yield {"detections": table_content(table)}

    key = {
        "origin": origin,
        "pass": settings_of(caches),
        "order": "by size",
        "files": file_identity([paths.images]),
    }
    shared = ShardedPass(CHECKPOINTS / "detections", key, loaded_code(), world.join())
    with shared.locked():
        table = shared.run_on(len(images), works, joined_tables("detections"))
        if table is None:
            return None
        table = in_order(table, images)
        if shared.accepted:
            origin["accepted_code"] = shared.accepted
        schema.write_table(paths.detections, table, table.schema, origin)
        shared.delete()
    people = int((table["object"].to_numpy() == vocabulary.person).sum())
    return {
        "images": len(images),
        "detections": len(table),
        "people": people,
        "unknown_objects": unknown,
    }


if __name__ == "__main__":
    run_stage("clip_distill/detections", main)
