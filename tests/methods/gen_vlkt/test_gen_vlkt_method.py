"""GEN-VLKT behind the contract: what it trains on, what its file holds, what it predicts with."""

import dataclasses

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from hoiclip.batches.batch import InferenceDataset, collate
from hoiclip.batches.transforms import TransformsConfig
from hoiclip.checkpoints.clip import load_clip
from hoiclip.contract.method import RankSettings
from hoiclip.contract.model_file import Detector, load_detector, only
from hoiclip.core import schema
from hoiclip.core.config import load
from hoiclip.errors import ParamsError, WeightsError
from hoiclip.images.store import ImageStore
from hoiclip.inference.predict import predict, with_scoring
from hoiclip.methods.gen_vlkt.build import build_gen_vlkt
from hoiclip.methods.gen_vlkt.model.method import GenVlktMethod, Scoring
from hoiclip.methods.registry import method_named
from hoiclip.model.tensors import read_safetensors
from hoiclip.set_prediction.config import TrainConfig
from hoiclip.set_prediction.criterion import Criterion
from hoiclip.set_prediction.dataset import TrainingDataset
from hoiclip.set_prediction.files import TrainData
from hoiclip.set_prediction.matcher import HungarianMatcher
from hoiclip.training.features import CachedFeatures, ComputedFeatures


@pytest.fixture
def built(toy, params, model_config, tmp_path):
    """`build_gen_vlkt` at the smallest sizes; arguments change its section of params."""

    def make(paths=None, warm_start=False, seed=0, **switches):
        config = dataclasses.asdict(model_config)
        sections = {
            "model": {key: config[key] for key in ("num_queries", "decoder_layers", "detector")},
            "gen_vlkt": params["gen_vlkt"] | switches,
            "train": params["train"] | {"warm_start": warm_start},
        }
        file = tmp_path / "params.yaml"
        file.write_text(yaml.safe_dump(sections))
        torch.manual_seed(seed)
        return build_gen_vlkt(file, paths or toy.paths, toy.vocabulary)

    return make


@pytest.fixture
def shown(toy, params):
    """The batch that training makes of the first images, with views for a method's teacher."""
    transforms = load_transforms(params)

    def make(method, count=3):
        data = TrainData.read(toy.paths)
        dataset = TrainingDataset(
            data.train, data.store, data.vocabulary, transforms, max_boxes=6, seed=0,
            clip_view=method.training_view,
        )  # fmt: skip
        return dataset.collate([dataset.sample(index, 0) for index in range(count)])

    return make


def load_transforms(params):
    values = params["train"]["transforms"] | {"flip": 0.5, "color_jitter": 0.4}
    return TransformsConfig(**values)


def with_criterion(method, toy, params, tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump({"train": params["train"]}))
    config = load(TrainConfig, "train", path)
    seen = torch.ones(toy.vocabulary.num_hois, dtype=torch.bool)
    matcher = HungarianMatcher(config.matching)
    method.criterion = Criterion(config.loss, matcher, toy.vocabulary.num_objects + 1, seen)
    return method


def detector_of(method, params):
    return Detector(method.eval(), load_transforms(params), {}, {"test": 1})


def test_the_teacher_sees_the_augmented_image_and_gives_features_of_their_own_length(
    built, shown, toy
):
    method = built()
    batch = shown(method)
    (features,) = method.frozen_features(batch.clip_pixels)
    clip = load_clip(toy.paths.clip)
    torch.testing.assert_close(features, clip.encode_image(batch.clip_pixels))
    lengths = features.norm(dim=-1)
    assert (lengths - 1).abs().min() > 1e-2
    normalised = clip.encode_image_tokens(batch.clip_pixels).global_feature
    torch.testing.assert_close(F.normalize(features, dim=-1), normalised)
    assert not features.requires_grad
    # Jitter is in what the teacher sees: the view is not the one of the stored image.
    store = ImageStore(toy.paths.images)
    name = TrainData.read(toy.paths).train.images["file_name"][0].as_py()
    plain = method.training_view(store.read(name))
    assert (batch.clip_pixels[0] - plain).abs().max() > 1e-3


def test_features_are_the_same_kept_or_computed(built, shown, toy, params):
    method = built()
    batch = shown(method)
    batch = dataclasses.replace(batch, flipped=[False, True, False])
    cpu = torch.device("cpu")
    views = batch.clip_pixels
    kept = CachedFeatures(method.frozen_features, lambda index: views[index], 3, cpu)
    (found,) = kept(batch)
    turned = torch.stack([views[0], views[1].flip(-1), views[2]])
    computed = ComputedFeatures(method.frozen_features, cpu)
    (expected,) = computed(dataclasses.replace(batch, clip_pixels=turned))
    torch.testing.assert_close(found, expected)


def test_a_step_adds_the_mimic_term_to_the_losses_of_set_prediction(
    built, shown, toy, params, tmp_path
):
    method = with_criterion(built(mimic=3.0), toy, params, tmp_path)
    batch = shown(method)
    features = method.frozen_features(batch.clip_pixels)
    method.network.eval()
    losses = method.training_step(batch, features)
    assert set(losses) == {"hoi", "object", "l1", "giou", "mimic"}
    students = method.network(*batch.inputs(method.device)).interaction_features
    by_hand = 0.0
    for layer in students:
        for student, teacher in zip(layer, features[0], strict=True):
            by_hand += 3.0 * (student.mean(0) - teacher).abs().mean().item() / len(layer)
    assert losses["mimic"].item() == pytest.approx(by_hand, rel=1e-5)


def test_a_teacher_without_features_is_no_training_without_the_mimic_term(
    built, shown, toy, params, tmp_path
):
    method = with_criterion(built(), toy, params, tmp_path)
    with pytest.raises(ValueError, match="has a teacher, but no features of it"):
        method.training_step(shown(method), None)


def test_trained_tables_and_unseen_classes_are_refused(built, toy, tmp_path):
    seen = np.ones(toy.vocabulary.num_hois, bool)
    seen[[2, 5]] = False
    path = tmp_path / "classes.parquet"
    table = toy.classes.set_column(3, schema.CLASSES.field("seen"), [seen])
    schema.write_table(path, table, schema.CLASSES, {})
    paths = dataclasses.replace(toy.paths, classes=path)
    with pytest.raises(ParamsError) as info:
        built(paths)
    said = str(info.value)
    assert "gen_vlkt.classifiers: 'trained', but 2 HOI classes are unseen" in said
    assert said.endswith("gen_vlkt.classifiers: frozen and gen_vlkt.classifier_bias: false")
    assert "\n" not in said
    built(paths, classifiers="frozen", classifier_bias=False)
    built()


def test_without_the_mimic_term_training_takes_no_image_tower(built, shown, toy, params, tmp_path):
    absent = dataclasses.replace(toy.paths, clip=tmp_path / "none.safetensors")
    method = with_criterion(built(absent, mimic=0.0), toy, params, tmp_path)
    assert method.training_view is None
    batch = shown(method)
    assert batch.clip_pixels is None
    assert set(method.training_step(batch, None)) == {"hoi", "object", "l1", "giou"}
    with pytest.raises(WeightsError, match="no such CLIP weight file"):
        built(absent)


def test_tables_start_from_the_cache_of_texts(built, toy):
    network = built().network
    rows = schema.read_table(toy.paths.text_embeddings).to_pylist()
    hois = [row["embedding"] for row in rows if row["kind"] == "hoi"]
    others = [row["embedding"] for row in rows if row["kind"] in ("object", "no_object")]
    torch.testing.assert_close(network.hoi_classifier.table.data, torch.tensor(hois))
    table = network.object_classifier.classifier.table.data
    torch.testing.assert_close(table, torch.tensor(others))


def test_a_warm_start_fills_both_decoders(built, toy):
    network = built(warm_start=True).network
    expected = toy.detr["transformer.decoder.layers.0.linear1.weight"]
    for decoder in (network.instance_decoder.decoder, network.interaction_decoder):
        assert torch.equal(decoder.layers[0].linear1.weight.data, expected)


def test_tables_learn_at_their_own_rate(built, toy):
    method = built(lr_classifiers=7e-6)
    rates = dataclasses.make_dataclass("Rates", ["lr", "lr_backbone"])(1e-4, 1e-5)
    groups = method.parameter_groups(rates)
    assert [group["lr"] for group in groups] == [1e-4, 1e-5, 7e-6]
    assert len(groups[2]["params"]) == 4


def test_a_model_file_holds_no_clip_and_gives_the_same_predictions(
    built, toy, params, predict_config, tmp_path
):
    method = built(guidance="last", position_guided=False)
    detector = detector_of(method, params)
    detector.save(tmp_path / "model.safetensors")
    assert all(name.startswith("model.") for name in load_file(tmp_path / "model.safetensors"))
    loaded = load_detector(tmp_path / "model.safetensors", method_named)
    assert isinstance(loaded.method, GenVlktMethod)
    assert loaded.method.config == method.config
    assert loaded.method.frozen == {}
    assert (loaded.method.clip_view, loaded.method.training_view) == (None, None)
    assert (loaded.method.name, loaded.method.title) == ("gen_vlkt", "GEN-VLKT")
    store = ImageStore(toy.folder / "images/test")
    images = toy.test.images.slice(0, 4)
    cpu = torch.device("cpu")
    (before,), (after,) = (
        predict(made, images, store, predict_config, cpu) for made in (detector, loaded)
    )
    assert len(before)
    assert before.equals(after)
    assert set(after["clip_score"].to_pylist()) == {0.0}


def test_the_score_is_hoi_plus_object_squared(built, toy, params):
    method = built().eval()
    store = ImageStore(toy.folder / "images/test")
    data = InferenceDataset(toy.test.images, store, load_transforms(params), method.clip_view)
    batch = collate([data[0], data[1]])
    assert batch.clip_pixels is None
    settings = RankSettings(top_k=5, nms=None, threads=1)
    (found,) = method.score_pairs(batch, settings, method.scorings(None))
    with torch.inference_mode():
        outputs = method.network(*batch.inputs(method.device))
    hoi, objects = outputs.hoi_logits[-1].sigmoid(), outputs.object_logits[-1].sigmoid()
    scores = hoi + objects[..., toy.vocabulary.object_of_hoi] ** 2
    for image in (0, 1):
        rows = found.image == image
        best = scores[image].flatten().topk(5).values.numpy()
        np.testing.assert_allclose(found.score[rows], best, rtol=1e-6)


def test_a_scoring_has_nothing_to_set(built, params):
    detector = detector_of(built(), params)
    assert with_scoring(detector, {}).method.scoring == Scoring()
    with pytest.raises(WeightsError, match=r"states .*k.*, of a model of GEN-VLKT"):
        with_scoring(detector, {"k": 0})


def test_a_file_of_another_method_is_refused(make_detector, tmp_path):
    make_detector().save(tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="method: 'hoiclip', expected gen_vlkt"):
        load_detector(tmp_path / "model.safetensors", only(GenVlktMethod))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model.hoi_projection.0.weight", None, "hoi_projection.0.weight is missing"),
        ("model.hoi_classifier.table", None, ": hoi_classifier.table is missing"),
        ("model.hoi_classifier.table", lambda t: t[:-1], "HOI classes, the tensors have"),
        ("model.logit_scale", lambda t: t.repeat(2), "logit_scale has shape"),
    ],
)
def test_a_damaged_file_is_one_line(built, params, tmp_path, name, change, message):
    path = tmp_path / "model.safetensors"
    detector_of(built(), params).save(path)
    state, metadata = read_safetensors(path)
    if change is None:
        del state[name]
    else:
        state[name] = change(state[name]).contiguous()
    save_file(state, path, metadata)
    with pytest.raises(WeightsError, match=message) as caught:
        load_detector(path, method_named)
    assert "\n" not in str(caught.value)


def test_a_switch_that_does_not_exist_is_named(built):
    with pytest.raises(ParamsError, match=r"gen_vlkt\.guidance: 'first'"):
        built(guidance="first")
