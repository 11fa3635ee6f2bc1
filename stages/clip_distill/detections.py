"""Detections in all train images, by the pretrained detector; no label is read."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip import schema
from hoiclip.data.images import ImageStore
from hoiclip.methods.clip_distill.caches import detections_table
from hoiclip.methods.clip_distill.detect import ObjectDetector, detect_images
from hoiclip.methods.clip_distill.inputs import (
    DistillPaths,
    DistillSettings,
    detections_origin,
    read_images,
)
from hoiclip.progress import say
from hoiclip.runtime import prepare
from hoiclip.util.stage_main import run_stage
from hoiclip.vocabulary import Vocabulary


def main(params: Path) -> dict:
    """Detects and keeps what may be half of a pair."""
    paths, settings = DistillPaths.of_project(), DistillSettings.read(params)
    rule, caches = settings.method.detections, settings.method.caches
    device = prepare(caches.device, caches.threads)
    vocabulary = Vocabulary.read(paths.vocabulary)
    images = read_images(paths.image_table)
    detector = ObjectDetector.read(
        paths.detector, settings.detector, rule.num_queries, vocabulary
    ).to(device)
    unknown = ", ".join(detector.unknown)
    if unknown:
        say(f"the detector does not know, so that no pair has them: {unknown}")
    found = detect_images(detector, images, ImageStore(paths.images), rule, caches)
    table = detections_table(images["image_id"].to_pylist(), found)
    schema.write_table(paths.detections, table, table.schema, detections_origin(paths, settings))
    people = int((table["object"].to_numpy() == vocabulary.person).sum())
    return {
        "images": len(images),
        "detections": len(table),
        "people": people,
        "unknown_objects": unknown,
    }


if __name__ == "__main__":
    run_stage("clip_distill/detections", main)
