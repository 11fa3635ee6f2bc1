"""CLIP's cosines of all train images and of the unions of their pairs; no label is read."""

from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip import schema
from hoiclip.clip.text_embeddings import read_text_embeddings
from hoiclip.clip.weights import load_clip
from hoiclip.data.images import ImageStore
from hoiclip.methods.clip_distill.caches import (
    image_scores_table,
    read_detections,
    union_scores_table,
)
from hoiclip.methods.clip_distill.classes import classes_of_object
from hoiclip.methods.clip_distill.clip_scores import clip_scores
from hoiclip.methods.clip_distill.inputs import (
    DistillPaths,
    DistillSettings,
    detections_origin,
    read_images,
    scores_origin,
)
from hoiclip.methods.clip_distill.pairs import make_pairs
from hoiclip.methods.clip_distill.view import clip_view
from hoiclip.runtime import prepare
from hoiclip.util.stage_main import run_stage
from hoiclip.vocabulary import Vocabulary


def main(params: Path) -> dict:
    """Encodes every image and every union once."""
    paths, settings = DistillPaths.of_project(), DistillSettings.read(params)
    method = settings.method
    device = prepare(method.caches.device, method.caches.threads)
    vocabulary = Vocabulary.read(paths.vocabulary)
    images = read_images(paths.image_table)
    ids = images["image_id"].to_pylist()
    detections = read_detections(
        paths.detections, ids, vocabulary.num_objects, detections_origin(paths, settings)
    )
    pairs = [make_pairs(found, vocabulary, method.detections.max_pairs) for found in detections]
    clip = load_clip(paths.clip).visual().to(device)
    classes = classes_of_object(vocabulary)
    whole, unions = clip_scores(
        clip,
        clip_view(clip, method.teacher.view),
        read_text_embeddings(paths.text_embeddings, vocabulary),
        images,
        ImageStore(paths.images),
        pairs,
        classes,
        method.caches,
    )
    origin = scores_origin(paths, settings)
    for path, table in (
        (paths.image_scores, image_scores_table(ids, whole)),
        (paths.union_scores, union_scores_table(ids, unions, classes)),
    ):
        schema.write_table(path, table, table.schema, origin)
    return {
        "images": len(images),
        "pairs": sum(map(len, pairs)),
        "images_without_pairs": sum(not len(each) for each in pairs),
    }


if __name__ == "__main__":
    run_stage("clip_distill/clip_scores", main)
