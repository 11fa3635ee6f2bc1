"""How well the toy CLIP names held-out crops and images without further training."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from hoiclip.clip.encoder import ClipEncoder
from hoiclip.crops import crop, enclosing_box
from hoiclip.pretraining.clip_batches import Captions, pair_captions
from hoiclip.pretraining.corpus import RenderedScene
from hoiclip.toy.world import ALL_COMBINATIONS


def evaluate(encoder: ClipEncoder, scenes: list[RenderedScene]) -> dict[str, float]:
    """Zero-shot figures in 0..1 on `scenes`.

    `hoi` and `verb`: crops of pairs, the best of all HOI captions (its verb); `verb_prompt`: the
    best verb caption; `object`: crops of entities, the best object caption; `image_p1`: whole
    images, the best HOI caption is true; `image_r5`: share of a whole image's HOI classes among
    the best five.
    """
    captions = Captions()
    text = encoder.encode_text(captions.texts)
    hits: dict[str, list[float]] = {}

    def best(pictures: Iterable[Image.Image], among: list[int], k: int = 1) -> np.ndarray:
        pixels = torch.stack([encoder.preprocess(picture) for picture in pictures])
        features = F.normalize(encoder.encode_image(pixels), dim=-1)
        return (features @ text[among].T).topk(k).indices.numpy()

    for scene in scenes:
        image = Image.fromarray(scene.image)
        truth = [pair_captions(scene, pair, captions)[0] for pair in scene.pairs]
        unions = [
            crop(image, enclosing_box(scene.boxes_xyxy[[pair.human, pair.object]]))
            for pair in scene.pairs
        ]
        for pair, true, top in zip(scene.pairs, truth, best(unions, captions.hoi), strict=True):
            hits.setdefault("hoi", []).append(captions.hoi[top[0]] in true)
            hits.setdefault("verb", []).append(ALL_COMBINATIONS[top[0]][0] in pair.verbs)
        for pair, top in zip(scene.pairs, best(unions, captions.verb), strict=True):
            hits.setdefault("verb_prompt", []).append(top[0] in pair.verbs)
        entities = [crop(image, box) for box in scene.boxes_xyxy]
        for category, top in zip(scene.objects, best(entities, captions.object), strict=True):
            hits.setdefault("object", []).append(top[0] == category)
        shown = {caption for true in truth for caption in true}
        top = [captions.hoi[i] for i in best([image], captions.hoi, k=5)[0]]
        hits.setdefault("image_p1", []).append(top[0] in shown)
        hits.setdefault("image_r5", []).append(len(shown.intersection(top)) / len(shown))
    return {name: float(np.mean(values)) for name, values in hits.items()}
