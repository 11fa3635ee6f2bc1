"""Pictures and captions for the toy CLIP: crops of pairs and objects, whole images, and nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from hoiclip.clip.encoder import ClipVisual
from hoiclip.core.vocabulary import Verb
from hoiclip.crops import crop, enclosing_box
from hoiclip.pretraining.corpus import RenderedScene
from hoiclip.text_embeddings.prompts import HICO_DET, hoi_prompt, object_prompt, verb_prompt
from hoiclip.toy.world import ALL_COMBINATIONS, OBJECTS, VERBS, Pair

# Shares of a batch; of the pair crops, how many carry the verb's caption instead of the HOI's.
_PAIR, _OBJECT, _IMAGE = 0.42, 0.20, 0.34
_VERB_CAPTION = 0.25
_JITTER = 0.03  # of a box's side: what annotated and detected boxes differ by
_TRIES = 10


class Captions:
    """Every caption of the toy world, each once.

    Attributes:
        texts: the captions.
        hoi: caption of each of `ALL_COMBINATIONS`; `of_hoi` the same by (verb, object).
        object: caption of each object.
        verb: caption of each verb.
        nothing: caption of a picture without any entity.
    """

    def __init__(self) -> None:
        verbs = [Verb(verb.name, verb.phrase) for verb in VERBS]
        hois = [hoi_prompt(verbs[v], OBJECTS[o]) for v, o in ALL_COMBINATIONS]
        objects = [object_prompt(name) for name in OBJECTS]
        verb_texts = [verb_prompt(verb) for verb in verbs]
        # "a photo of a person" is both the object and the verb without an interaction.
        self.texts = list(dict.fromkeys([*hois, *objects, *verb_texts, HICO_DET.no_object]))
        index = {text: i for i, text in enumerate(self.texts)}
        self.hoi = [index[text] for text in hois]
        self.of_hoi = dict(zip(ALL_COMBINATIONS, self.hoi, strict=True))
        self.object = [index[text] for text in objects]
        self.verb = [index[text] for text in verb_texts]
        self.nothing = index[HICO_DET.no_object]


class Sample(NamedTuple):
    """A picture, its captions, and further captions that are true of it but not asked for."""

    picture: Image.Image
    positives: list[int]
    also_true: list[int]


class Batch(NamedTuple):
    """Pixels (B, 3, R, R); `positive` and `also_true` (B, captions) bool."""

    pixels: Tensor
    positive: Tensor
    also_true: Tensor


def sample_batch(
    rng: np.random.Generator,
    scenes: list[RenderedScene],
    captions: Captions,
    visual: ClipVisual,
    size: int,
) -> Batch:
    """`size` random samples of random scenes, preprocessed as CLIP does, half of them mirrored."""
    pixels = []
    positive = torch.zeros(size, len(captions.texts), dtype=torch.bool)
    also_true = torch.zeros_like(positive)
    for row in range(size):
        sample = _sample(rng, scenes[rng.integers(len(scenes))], captions)
        picture = ImageOps.mirror(sample.picture) if rng.random() < 0.5 else sample.picture
        pixels.append(visual.preprocess(picture))
        also_true[row, sample.also_true] = True
        positive[row, sample.positives] = True
    images = torch.stack(pixels).contiguous(memory_format=torch.channels_last)
    return Batch(images, positive, also_true & ~positive)


def pair_captions(
    scene: RenderedScene, pair: Pair, captions: Captions
) -> tuple[list[int], list[int]]:
    """Captions of a pair's HOI classes, and of its verbs."""
    category = int(scene.objects[pair.object])
    hois = [captions.of_hoi[verb, category] for verb in pair.verbs]
    return hois, [captions.verb[verb] for verb in pair.verbs]


def _sample(rng: np.random.Generator, scene: RenderedScene, captions: Captions) -> Sample:
    image = Image.fromarray(scene.image)
    person = captions.object[0]
    kind = rng.random()
    if kind < _PAIR:
        pair = scene.pairs[rng.integers(len(scene.pairs))]
        hois, verbs = pair_captions(scene, pair, captions)
        things = [captions.object[scene.objects[pair.object]], person]
        box = enclosing_box(scene.boxes_xyxy[[pair.human, pair.object]])
        picture = crop(image, _jittered(rng, box))
        if rng.random() < _VERB_CAPTION:
            return Sample(picture, verbs, [*hois, *things])
        return Sample(picture, hois, [*verbs, *things])
    if kind < _PAIR + _OBJECT:
        entity = int(rng.integers(len(scene.objects)))
        also_true = []
        for pair in scene.pairs:
            if pair.human == entity:  # a person's pose tells the verb
                hois, verbs = pair_captions(scene, pair, captions)
                also_true += hois + verbs
        picture = crop(image, _jittered(rng, scene.boxes_xyxy[entity]))
        return Sample(picture, [captions.object[scene.objects[entity]]], also_true)
    if kind < _PAIR + _OBJECT + _IMAGE:
        both = [pair_captions(scene, pair, captions) for pair in scene.pairs]
        also_true = [captions.object[category] for category in scene.objects]
        also_true += [verb for _, verbs in both for verb in verbs]
        return Sample(image, [hoi for hois, _ in both for hoi in hois], also_true)
    return Sample(_empty_crop(rng, scene, image), [captions.nothing], [])


def _jittered(rng: np.random.Generator, box_xyxy: np.ndarray) -> np.ndarray:
    sides = np.tile(box_xyxy[2:] - box_xyxy[:2], 2)
    return box_xyxy + rng.uniform(-_JITTER, _JITTER, 4) * sides


def _empty_crop(rng: np.random.Generator, scene: RenderedScene, image: Image.Image) -> Image.Image:
    """A random square that touches no entity, or, where none is found, a plain grey one."""
    for _ in range(_TRIES):
        side = rng.uniform(16, 64)
        low = rng.uniform(0, np.array(image.size) - side)
        boxes = scene.boxes_xyxy
        if ((boxes[:, :2] >= low + side) | (boxes[:, 2:] <= low)).any(axis=1).all():
            return crop(image, np.concatenate([low, low + side]))
    return Image.new("RGB", image.size, tuple(int(c) for c in rng.integers(0, 256, 3)))
