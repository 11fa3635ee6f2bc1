from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from hoiclip.checkpoints.clip import load_clip
from hoiclip.clip.encoder import ClipEncoder, build_clip
from hoiclip.pretraining.clip import (
    ClipPretraining,
    contrastive_loss,
    make_optimizer,
    model_config,
    new_model,
    pretrain,
    schedule,
)
from hoiclip.pretraining.clip_batches import Captions, sample_batch
from hoiclip.pretraining.clip_figures import evaluate
from hoiclip.pretraining.corpus import RenderedScene, render_corpus, render_scene
from hoiclip.toy.world import ALL_COMBINATIONS, OBJECTS, VERBS, Pair

TINY = ClipPretraining(
    scenes=6, held_out_scenes=2, steps=3, batch_size=4, save_every=2, warmup_steps=1, lr=0.05,
    width=32, layers=1, embed_dim=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def captions():
    return Captions()


@pytest.fixture(scope="module")
def scenes():
    return render_corpus(12, seed=5, workers=0)


class TestCorpus:
    def test_does_not_depend_on_the_number_of_workers(self, scenes):
        for ours, theirs in zip(scenes, render_corpus(12, seed=5, workers=2), strict=True):
            np.testing.assert_array_equal(ours.image, theirs.image)
            np.testing.assert_array_equal(ours.boxes_xyxy, theirs.boxes_xyxy)
            assert ours.pairs == theirs.pairs

    def test_seeds_and_indices_differ(self, scenes):
        pictures = [scene.image.tobytes() for scene in scenes]
        pictures.append(render_scene(0, seed=6).image.tobytes())
        assert len(set(pictures)) == 13

    def test_pairs_join_a_person_and_an_object_with_boxes(self, scenes):
        for scene in scenes:
            assert scene.image.dtype == np.uint8
            assert scene.boxes_xyxy.shape == (len(scene.objects), 4)
            for pair in scene.pairs:
                assert scene.objects[pair.human] == 0
                assert scene.objects[pair.object] > 0


class TestCaptions:
    def test_cover_every_combination_object_and_verb(self, captions):
        assert len(set(captions.texts)) == len(captions.texts)
        assert len(set(captions.hoi)) == len(ALL_COMBINATIONS) == 80
        assert [captions.texts[i] for i in captions.object[:2]] == [
            "a photo of a person",
            f"a photo of a {OBJECTS[1]}",
        ]
        assert len(set(captions.verb)) == len(VERBS)
        assert captions.texts[captions.nothing] == "a photo of nothing"
        none = [verb.name for verb in VERBS].index("no_interaction")
        assert captions.texts[captions.of_hoi[none, 1]] == f"a photo of a person and a {OBJECTS[1]}"


class TestBatches:
    def test_every_picture_has_a_caption_and_none_is_both(self, scenes, captions):
        visual = ClipEncoder(model_config(TINY, captions.texts)).visual()
        batch = sample_batch(np.random.default_rng(0), scenes, captions, visual, 64)
        assert batch.pixels.shape == (64, 3, 128, 128)
        assert batch.positive.any(1).all()
        assert not (batch.positive & batch.also_true).any()

    def test_captions_are_true_of_the_picture(self, scenes, captions):
        """With one scene, every caption names something in it, or nothing."""
        visual = ClipEncoder(model_config(TINY, captions.texts)).visual()
        scene = scenes[0]
        true = {captions.nothing, *(captions.object[c] for c in scene.objects)}
        for pair in scene.pairs:
            true |= {captions.verb[verb] for verb in pair.verbs}
            true |= {captions.of_hoi[verb, int(scene.objects[pair.object])] for verb in pair.verbs}
        batch = sample_batch(np.random.default_rng(0), [scene], captions, visual, 64)
        said = set((batch.positive | batch.also_true).any(0).nonzero().flatten().tolist())
        assert said == true

    def test_every_kind_of_caption_is_asked_for(self, scenes, captions):
        visual = ClipEncoder(model_config(TINY, captions.texts)).visual()
        batch = sample_batch(np.random.default_rng(0), scenes, captions, visual, 96)
        asked = batch.positive.any(0)
        verbs = [i for i in captions.verb if i not in captions.object]
        for kind in (captions.hoi, captions.object, verbs, [captions.nothing]):
            assert asked[kind].any()


class TestLoss:
    def loop(self, logits, positive, also_true):
        directions = []
        for s, p, t in ((logits, positive, also_true), (logits.T, positive.T, also_true.T)):
            rows = []
            for row in range(len(s)):
                rivals = s[row][~p[row] & ~t[row]]
                terms = [
                    -torch.log_softmax(torch.cat([s[row, c : c + 1], rivals]), 0)[0]
                    for c in p[row].nonzero().flatten()
                ]
                rows += [torch.stack(terms).mean()] if terms else []
            directions.append(torch.stack(rows).mean())
        return sum(directions) / 2

    @pytest.mark.parametrize("seed", range(5))
    def test_equals_a_loop_over_positives(self, seed):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(6, 9, generator=generator) * 5
        kind = torch.randint(0, 5, (6, 9), generator=generator)
        kind[torch.arange(6), torch.arange(6)] = 0
        positive, also_true = kind == 0, kind == 1
        loss = contrastive_loss(logits, positive, also_true)
        torch.testing.assert_close(loss, self.loop(logits, positive, also_true))

    def test_with_one_caption_each_it_is_clips(self):
        logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)) * 3
        target = torch.arange(5)
        clip = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        none = torch.zeros(5, 5, dtype=torch.bool)
        torch.testing.assert_close(contrastive_loss(logits, torch.eye(5).bool(), none), clip)

    def test_without_rivals_it_is_zero_with_a_finite_gradient(self):
        logits = torch.randn(3, 1, requires_grad=True)
        loss = contrastive_loss(logits, torch.ones(3, 1).bool(), torch.zeros(3, 1).bool())
        loss.backward()
        assert loss.item() == 0
        assert torch.isfinite(logits.grad).all()


class TestOptimizer:
    def test_has_every_parameter_once_and_spares_vectors_from_decay(self, captions):
        model = new_model(model_config(TINY, captions.texts))
        groups = make_optimizer(model, TINY).param_groups
        parameters = [p for group in groups for p in group["params"]]
        assert len(parameters) == len({id(p) for p in parameters}) == len(list(model.parameters()))
        for group in groups:
            for p in group["params"]:
                assert (group["weight_decay"] > 0) == (p.ndim > 1)
        slow = {id(p) for g in groups if g["lr"] < TINY.lr for p in g["params"]}
        assert id(model.token_embedding.weight) in slow
        assert id(model.logit_scale) not in slow
        assert not slow & {id(p) for p in model.visual.parameters()}

    def test_the_schedule_rises_then_falls_to_zero(self):
        settings = ClipPretraining(steps=100, warmup_steps=10)
        factors = [schedule(step, settings) for step in range(101)]
        assert factors[0] == pytest.approx(0.1)
        assert factors[9:11] == [1.0, 1.0]
        assert factors[10:] == sorted(factors[10:], reverse=True)
        assert factors[55] == pytest.approx(0.5)
        assert factors[100] == pytest.approx(0)


class TestFigures:
    def scene(self):
        """Two people: left sits on object 1, right holds object 2."""
        image = np.zeros((128, 128, 3), np.uint8)
        image[:, :64], image[:, 64:] = 10, 200
        boxes = np.array([[0, 0, 20, 99], [10, 60, 40, 99], [70, 0, 90, 99], [80, 60, 99, 99]])
        pairs = (Pair(0, 1, (7,)), Pair(2, 3, (0, 1)))
        return RenderedScene(image, boxes.astype(np.float32), np.array([0, 1, 0, 2]), pairs)

    @pytest.mark.parametrize(("right", "expected"), [((0, 2), 1.0), ((0, 3), 0.5)])
    def test_by_hand(self, captions, right, expected):
        """An encoder that tells left from right by brightness, with an HOI caption for each."""
        scores = torch.zeros(2, len(captions.texts))
        scores[0, captions.of_hoi[7, 1]] = scores[1, captions.of_hoi[right]] = 2
        scores[0, captions.verb[7]] = scores[1, captions.verb[1]] = 2
        scores[0, captions.object[1]] = scores[1, captions.object[2]] = 2

        class Encoder:
            def encode_text(self, texts):
                assert texts == captions.texts
                return scores.T

            def preprocess(self, image: Image.Image):
                return torch.tensor(float(np.asarray(image).mean() > 100))

            def encode_image(self, pixels):
                return torch.stack([1 - pixels, pixels], dim=1)

        figures = evaluate(Encoder(), [self.scene()])
        assert figures["hoi"] == expected
        assert figures["verb"] == 1.0
        assert figures["verb_prompt"] == 1.0
        assert figures["object"] == 0.5  # people are called by their object's name
        # The whole image's mean is 105: "right".
        assert figures["image_p1"] == (expected == 1.0)
        assert figures["image_r5"] <= 1 / 3 + (expected == 1.0)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    pretrain(TINY, out)
    return out


class TestRun:
    def test_writes_a_loadable_model_and_its_figures(self, out, captions):
        encoder = load_clip(out)
        assert encoder.encode_text(captions.texts).shape == (len(captions.texts), 8)
        card = json.loads(out.with_suffix(".json").read_text())
        assert card["steps_done"] == 3
        assert card["sha256"] == encoder.provenance["weights_sha256"]
        held_out = render_corpus(2, seed=TINY.seed + 1, workers=0)
        assert card["held_out"] == {"scenes": 2} | evaluate(encoder, held_out)

    def test_is_determined_by_its_settings(self, out, tmp_path):
        again = tmp_path / "clip.safetensors"
        pretrain(TINY, again)
        assert again.read_bytes() == out.read_bytes()

    def test_trains_every_parameter(self, out, captions):
        torch.manual_seed(TINY.seed)
        config = model_config(TINY, captions.texts)
        start = new_model(config).state_dict()
        trained = load_clip(out)
        now = {f"visual.{k}": v for k, v in trained.tower.state_dict().items()}
        now |= trained.text.state_dict()
        assert set(now) == set(build_clip(config).state_dict())
        assert [name for name in start if torch.equal(start[name].half(), now[name].half())] == []
