"""Zero-shot settings, and the proof that nothing of an unseen class reaches training."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from hoiclip.batches.transforms import TransformsConfig, normalised
from hoiclip.catalog.vocabularies import hico_det, vcoco
from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Vocabulary
from hoiclip.errors import ParamsError
from hoiclip.images.store import ImageStore
from hoiclip.set_prediction.criterion import Criterion, LossConfig
from hoiclip.set_prediction.dataset import TrainingDataset
from hoiclip.set_prediction.matcher import HungarianMatcher, MatchingConfig
from hoiclip.splits.splits import SplitsConfig, make_splits
from hoiclip.splits.zero_shot import published_settings
from hoiclip.verb_vectors.arithmetic import verb_vectors
from hoiclip.verb_vectors.crops import rows_by_image
from hoiclip.verb_vectors.feature_sums import CropPass

SHARED = Path(__file__).parents[3] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
HICO = hico_det()
SIZES = {"unseen_object": 100, "unseen_verb": 84} | dict.fromkeys(
    ["rare_first", "non_rare_first", *(f"uc{i}" for i in range(5))], 120
)
PLAIN = SplitsConfig(
    seed=0,
    validation_fraction=0.0,
    train_fraction=1.0,
    zero_shot=None,
    unseen_hois=[],
    fraction_file=None,
    keep_empty_images=False,
)


def unseen(setting, vocabulary=HICO):
    return dataclasses.replace(PLAIN, zero_shot=setting).unseen(vocabulary)


def test_every_setting_is_known():
    assert set(published_settings()) == set(SIZES)


@pytest.mark.parametrize("setting", SIZES)
def test_sizes_of_the_published_settings(setting):
    listed = unseen(setting)
    assert (listed.shape, listed.dtype) == ((600,), np.bool_)
    assert listed.sum() == SIZES[setting]


@pytest.mark.parametrize(
    ("setting", "verbs", "objects"),
    [
        ("rare_first", 0, 0),
        ("non_rare_first", 0, 0),
        ("unseen_object", 5, 12),
        ("unseen_verb", 20, 0),
        *((f"uc{draw}", verbs, 0) for draw, verbs in enumerate((9, 10, 10, 9, 10))),
    ],
)
def test_verbs_and_objects_that_are_unseen_as_a_whole(setting, verbs, objects):
    listed = unseen(setting)
    for of_hoi, count in ((HICO.verb_of_hoi, verbs), (HICO.object_of_hoi, objects)):
        assert len(set(of_hoi[listed]) - set(of_hoi[~listed])) == count
    whole = {"unseen_object": HICO.object_of_hoi, "unseen_verb": HICO.verb_of_hoi}.get(setting)
    if whole is not None:
        assert not set(whole[listed]) & set(whole[~listed])


@needs_shared
def test_packaged_lists_are_the_published_ones():
    published = json.loads((SHARED / "spec/zero_shot_splits.json").read_text())
    packaged = Path(__file__).parents[2] / "hoiclip/catalog/published/zero_shot_splits.json"
    assert json.loads(packaged.read_text()) == published
    for setting, listed in published.items():
        assert np.flatnonzero(unseen(setting)).tolist() == sorted(listed)


@needs_shared
def test_rare_first_is_rare_and_non_rare_first_is_not():
    document = json.loads((SHARED / "data/hico_det/instances_test2015.json").read_text())
    rare = np.isin(np.arange(HICO.num_hois), document["rare"])
    assert rare[unseen("rare_first")].all()
    assert not rare[unseen("non_rare_first")].any()


def hico_with(hois=HICO.hois, objects=HICO.objects):
    return Vocabulary(tuple(objects), HICO.verbs, tuple(hois))


@pytest.mark.parametrize("setting", SIZES)
@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (vcoco(), "the data set has 263, and class 0 is 'hold_obj cup', not 'board airplane'"),
        (hico_with(HICO.hois[:-1]), "the data set has 599, and class 599 is None, not '"),
        (hico_with((*HICO.hois, Hoi(0, 0))), "the data set has 601, and class 600 is 'adjust p"),
        (
            hico_with((HICO.hois[1], HICO.hois[0], *HICO.hois[2:])),
            "the data set has 600, and class 0 is 'direct airplane', not 'board airplane'",
        ),
        (
            hico_with(objects=[HICO.objects[0], *HICO.objects[:0:-1]]),
            "the data set has 600, and class 0 is 'board ",
        ),
    ],
)
def test_another_vocabulary_is_refused(setting, vocabulary, message):
    with pytest.raises(ParamsError, match=f"splits.zero_shot: '{setting}' is .*{message}"):
        unseen(setting, vocabulary)


def test_an_equal_vocabulary_serves_whatever_its_prompts():
    other = Vocabulary(
        HICO.objects,
        tuple(dataclasses.replace(verb, phrase=None) for verb in HICO.verbs),
        HICO.hois,
    )
    assert (unseen("uc0", other) == unseen("uc0")).all()


# What training sees


def with_second_classes(train, vocabulary):
    rows = []
    for row in train.interactions.to_pylist():
        object_ = vocabulary.hois[row["hoi"]].object
        same = [h for h, hoi in enumerate(vocabulary.hois) if hoi.object == object_]
        second = same[(same.index(row["hoi"]) + 1) % len(same)]
        rows.append(row)
        if second != row["hoi"]:
            rows.append(row | {"hoi": second, "verb": vocabulary.hois[second].verb})
    return dataclasses.replace(train, interactions=pa.Table.from_pylist(rows, schema.INTERACTIONS))


@pytest.fixture
def world(toy):
    """A toy train partition, unseen classes with a whole verb among them, and two twins.

    Every pair has two classes where its object allows. In the first twin, the pairs of unseen
    classes are gone; in the second their classes are others, all unseen.
    """
    vocabulary = toy.vocabulary
    train = with_second_classes(toy.train, vocabulary)
    pairs = train.pairs()
    busiest = np.bincount(vocabulary.verb_of_hoi[pairs.hoi_of_row]).argmax()
    hois = np.flatnonzero(vocabulary.verb_of_hoi == busiest).tolist()
    rest = np.setdiff1d(pairs.hoi_of_row, hois)
    hois += rest[:2].tolist()
    touched = np.zeros(len(pairs.image_ids), bool)
    touched[pairs.pair_of_row[np.isin(pairs.hoi_of_row, hois)]] = True
    of_touched = touched[pairs.pair_of_row]
    assert 0 < of_touched.sum() < len(of_touched)
    assert (~np.isin(pairs.hoi_of_row, hois) & of_touched).any()
    without = train.interactions.filter(pa.array(~of_touched))
    # Every row of a touched pair becomes one of an unseen class.
    table = train.interactions.to_pylist()
    for row, changed in zip(table, of_touched.tolist(), strict=True):
        if changed:
            object_ = vocabulary.hois[row["hoi"]].object
            row["verb"] = int(busiest)
            row["hoi"] = vocabulary.hoi_ids.get((int(busiest), object_), hois[-1])
    other = pa.Table.from_pylist(table, schema.INTERACTIONS)
    twins = [
        dataclasses.replace(train, interactions=interactions) for interactions in (without, other)
    ]
    return vocabulary, sorted(hois), [train, *twins]


class ColourAndSize:
    """Stands for CLIP's image tower: features are a crop's mean colour and size."""

    embed_dim = 5
    visual_projection = torch.zeros(1)

    def preprocess(self, image):
        means = np.asarray(image, float).reshape(-1, 3).mean(0) / 255
        return torch.tensor([*means, image.width / 20, image.height / 20], dtype=torch.float32)

    def encode_image(self, pixels):
        return pixels


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_pairs_of_unseen_classes_leave_no_trace_in_what_trains(toy, world, share, params):
    vocabulary, hois, partitions = world
    config = dataclasses.replace(PLAIN, unseen_hois=hois, validation_fraction=share)
    store = ImageStore(toy.folder / "images/train")
    text = np.eye(vocabulary.num_verbs, ColourAndSize.embed_dim, dtype=np.float32)
    results = []
    for partition in partitions:
        splits = make_splits(partition, vocabulary, config)
        seen = splits.classes["seen"].to_numpy()
        assert np.flatnonzero(~seen).tolist() == hois
        images = rows_by_image(splits.train, seen)
        sums = CropPass(images, store.read, ColourAndSize(), vocabulary).whole()
        vectors = {
            kind: verb_vectors(sums, vocabulary, text, kind) for kind in ("arithmetic", "average")
        }
        results.append((splits, sums, vectors))
    first, first_sums, first_vectors = results[0]
    for splits, sums, vectors in results[1:]:
        for part in ("train", "validation"):
            for table in ("images", "instances", "interactions"):
                one, other = (getattr(getattr(s, part), table) for s in (first, splits))
                assert one.equals(other), (part, table)
        for name in ("hoi", "object", "rows"):
            np.testing.assert_array_equal(getattr(first_sums, name), getattr(sums, name))
        for kind, made in vectors.items():
            np.testing.assert_array_equal(first_vectors[kind].vectors, made.vectors)
    assert first.train.interactions.num_rows
    unseen_verbs = np.setdiff1d(
        np.arange(vocabulary.num_verbs), np.delete(vocabulary.verb_of_hoi, hois)
    )
    assert len(unseen_verbs)
    for made in first_vectors.values():
        assert not made.from_crops[unseen_verbs].any()
        assert not made.pairs[unseen_verbs].any()
        assert made.from_crops.any()
    for part in (first.train, first.validation):
        assert not np.isin(part.interactions["hoi"].to_numpy(), hois).any()


def test_targets_and_classifiers_are_blind_to_unseen_classes(toy, world, make_detector):
    vocabulary, hois, partitions = world
    splits = make_splits(partitions[0], vocabulary, dataclasses.replace(PLAIN, unseen_hois=hois))
    transforms = TransformsConfig(
        flip=0.0, color_jitter=0.0, scales=[], crop_scales=[], crop_sides=[384, 600],
        max_side=1333, test_scale=0,
    )  # fmt: skip
    model = make_detector().method.network
    samples = TrainingDataset(
        splits.train, ImageStore(toy.folder / "images/train"), vocabulary, transforms,
        max_boxes=100, seed=0, clip_view=None,
    )  # fmt: skip
    shown = (samples.sample(index, 0) for index in range(len(samples)))
    sample = next(s for s in shown if s.targets.counts[0])
    assert not samples.labels[:, hois].any()
    assert samples.labels.any()

    seen = torch.from_numpy(splits.classes["seen"].to_numpy())
    loss = LossConfig(
        hoi=2.0, object=1.0, no_object=0.1, l1=2.5, giou=1.0, focal_alpha=0.5, focal_gamma=2.0
    )
    matcher = HungarianMatcher(MatchingConfig(hoi=1.0, object=1.0, l1=2.5, giou=1.0))
    criterion = Criterion(loss, matcher, vocabulary.num_objects + 1, seen)
    clip_tokens = torch.randn(1, 5, model.visual_projection.shape[0])
    clip_global = torch.randn(1, model.visual_projection.shape[1])

    def step():
        """Gradients of one step, by parameter."""
        model.zero_grad()
        outputs = model(normalised(sample.image[None]), None, clip_tokens, clip_global)
        sum(criterion(outputs, sample.targets).values()).backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    before = step()
    vectors = before["verb_classifier.vectors"]
    unseen_verb = np.setdiff1d(
        np.arange(vocabulary.num_verbs), np.delete(vocabulary.verb_of_hoi, hois)
    ).tolist()
    assert not vectors[unseen_verb].any()
    assert vectors.any()
    # The text embeddings of unseen classes are never trained, and what they are changes nothing.
    assert not any(p is model.hoi_classifier.table for p in model.parameters())
    model.hoi_classifier.table[~seen] = 7.0
    after = step()
    assert before.keys() == after.keys()
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient, msg=name)
