"""Detections in all train images, by the pretrained detector; no label is read."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
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
from hoiclip.methods.clip_distill.detect import ObjectDetector, detect_images
from hoiclip.parallel.device import prepare
from hoiclip.parallel.settings import settings as settings_of
from hoiclip.parallel.world import World
from hoiclip.passes import ShardedPass, joined_tables, table_content
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
    detector = ObjectDetector.read(
        paths.detector, settings.detector, rule.num_queries, vocabulary
    ).to(device)
    unknown = ", ".join(detector.unknown)
    if unknown:
        say(f"the detector does not know, so that no pair has them: {unknown}")
    store, origin = ImageStore(paths.images), detections_origin(paths, settings)

    def work(rows: range) -> dict:
        some = images.slice(rows.start, len(rows))
        found = detect_images(detector, some, store, rule, caches)
        return {"detections": table_content(detections_table(some["image_id"].to_pylist(), found))}

    key = {
        "origin": origin,
        "pass": settings_of(caches),
        "files": file_identity([paths.images]),
    }
    shared = ShardedPass(CHECKPOINTS / "detections", key, loaded_code(), world.join())
    with shared.locked():
        table = shared.run(len(images), work, joined_tables("detections"))
        if table is None:
            return None
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
