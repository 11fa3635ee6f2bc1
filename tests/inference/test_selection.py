"""Which epoch and which scoring are best on validation."""

import dataclasses

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from hoiclip.contract.model_file import load_detector
from hoiclip.core.files import read_json
from hoiclip.errors import ParamsError, WeightsError
from hoiclip.images.store import ImageStore
from hoiclip.inference import selection
from hoiclip.inference.selection import (
    SelectConfig,
    Validation,
    kept_weights,
    select,
    select_from_files,
)
from hoiclip.methods.hoiclip.model.config import EnhancementConfig, Scoring
from hoiclip.methods.hoiclip.model.method import HoiclipMethod
from hoiclip.methods.registry import method_named
from hoiclip.training.trainer import weights_name

CPU = torch.device("cpu")
BEST = SelectConfig(weights="best")
NAME = "instance_decoder.human_queries.weight"


@pytest.fixture
def kept(tmp_path, make_detector):
    """Weights of epochs 1 to 3, which differ, and the detector as after the last."""
    (tmp_path / "weights").mkdir()
    for epoch in (1, 2, 3):
        detector = make_detector(seed=epoch)
        state = {k: v.contiguous() for k, v in detector.method.network.state_dict().items()}
        save_file(state, tmp_path / "weights" / weights_name(epoch))
    return detector, kept_weights(tmp_path / "weights")


@pytest.fixture
def validation(toy, predict_config):
    part = toy.train.select(np.arange(8, 12))
    store = ImageStore(toy.folder / "images/train")
    return Validation(part, store, toy.classes, predict_config, CPU)


def scored(monkeypatch, values):
    """Every score asked for is the next of `values`; what was asked for."""
    asked, values = [], iter(values)
    monkeypatch.setattr(
        Validation,
        "scores",
        lambda self, detector, scorings: (
            asked.append((detector.method.network.state_dict()[NAME].clone(), list(scorings))),
            [{"full": next(values), "unseen": None} for _ in scorings],
        )[1],
    )
    return asked


def is_of(detector, path):
    return torch.equal(detector.method.network.state_dict()[NAME], load_file(path)[NAME])


@pytest.mark.parametrize(
    ("full", "epoch"),
    [([5.0, 9.0, 3.0], 2), ([5.0, 9.0, 9.0], 2), ([4.0] * 3, 1), ([None] * 3, 1), ([0, 0, 1], 3)],
)
def test_the_best_epoch_is_taken_and_the_earliest_of_equals(
    kept, validation, monkeypatch, full, epoch
):
    detector, weights = kept
    asked = scored(monkeypatch, full)
    found = select(detector, weights, [Scoring(k=0)], BEST, validation)
    assert found.epoch == epoch
    assert {tried: figures["full"] for tried, figures in found.epochs.items()} == {
        number: value for number, value in enumerate(full, 1)
    }
    assert is_of(detector, weights[epoch])
    for number, (queries, scorings) in enumerate(asked, 1):
        assert torch.equal(queries, load_file(weights[number])[NAME])
        assert scorings == [Scoring(k=0)]


def test_the_last_epoch_is_taken_where_that_is_asked_for(kept, validation, monkeypatch):
    detector, weights = kept
    assert scored(monkeypatch, []) == []
    found = select(detector, weights, [Scoring(k=7)], SelectConfig(weights="last"), validation)
    assert (found.epoch, found.epochs) == (3, {})
    assert found.scorings == [(Scoring(k=7), None)]
    assert is_of(detector, weights[3])
    assert detector.method.scoring == Scoring(k=7)


def test_without_validation_images_it_is_the_last_epoch_and_the_first_scoring(
    kept, validation, toy, monkeypatch
):
    detector, weights = kept
    empty = dataclasses.replace(validation, annotations=toy.train.select(np.array([], np.int64)))
    assert scored(monkeypatch, []) == []
    found = select(detector, weights, [Scoring(k=0), Scoring(k=5)], BEST, empty)
    assert (found.epoch, found.epochs) == (3, {})
    assert detector.method.scoring == Scoring(k=0)


@pytest.mark.parametrize(
    ("full", "best"),
    [([5.0, 7.0, 9.0], 3), ([5.0, 9.0, 9.0], 1), ([4.0, 4.0, 4.0], 0), ([None] * 3, 0)],
)
def test_the_best_k_is_chosen_with_the_best_weights_and_the_smallest_of_equals(
    kept, validation, monkeypatch, full, best
):
    """The sweep names k in another order."""
    detector, weights = kept
    config = EnhancementConfig(k=None, sweep_k=[3, 0, 1], weight=0.5, kind="sigmoid")
    asked = scored(monkeypatch, [1.0, 2.0, 1.5, *full])
    found = select(detector, weights, config.scorings(), BEST, validation)
    assert found.epoch == 2
    assert detector.method.scoring == Scoring(k=best, weight=0.5, kind="sigmoid")
    assert [(scoring.k, value) for scoring, value in found.scorings] == [
        (k, value) for k, value in zip((0, 1, 3), full, strict=True)
    ]
    assert torch.equal(asked[-1][0], load_file(weights[2])[NAME])


def test_a_k_that_is_given_is_not_chosen():
    given = EnhancementConfig(k=10, sweep_k=[0, 1], weight=1.0, kind="cosine")
    assert given.scorings() == [Scoring(k=10)]
    with pytest.raises(ValueError, match="sweep_k: empty"):
        EnhancementConfig(k=None, sweep_k=[], weight=1.0, kind="cosine")


def test_weights_of_another_network_are_named(kept, validation):
    detector, weights = kept
    save_file({"a": torch.zeros(1)}, weights[1])
    with pytest.raises(WeightsError, match=r"epoch-0001\.safetensors: weights of another network"):
        select(detector, weights, [Scoring(k=0)], BEST, validation)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(WeightsError, match="holds no weights of an epoch; run the train stage"):
        kept_weights(tmp_path)


@pytest.fixture
def project(kept, toy, params, tmp_path, monkeypatch):
    """What the stage finds: a trained method, the partitions, params."""
    detector, _ = kept
    detector.save(tmp_path / "model.safetensors")
    monkeypatch.setattr(selection, "VALIDATION", toy.folder / "splits/validation")
    monkeypatch.setattr(selection, "CLASSES", toy.folder / "splits/classes.parquet")
    monkeypatch.setattr(selection, "IMAGES", toy.folder / "images/train")
    sections = {key: params[key] for key in ("hoiclip", "select", "predict")}
    sections["predict"] = sections["predict"] | {"threads": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(sections))
    return tmp_path


def test_from_files_to_a_model_file(project, monkeypatch):
    seen, real = [], selection.predict

    def recorded(detector, images, store, config, device, scorings):
        seen.append(images["image_id"].to_pylist())
        return real(detector, images, store, config, device, scorings)

    monkeypatch.setattr(selection, "predict", recorded)
    out = project / "select"
    said = select_from_files(HoiclipMethod, project / "params.yaml", project, out)
    assert seen == [list(range(8, 12))] * 4  # three epochs, then the sweep: validation alone
    detector = load_detector(out / "model.safetensors", method_named)
    assert is_of(detector, project / "weights" / weights_name(said["epoch"]))
    assert detector.provenance["epoch"] == said["epoch"]
    assert dataclasses.asdict(detector.method.scoring) == said["scoring"]
    written = read_json(out / "selection.json")
    assert written["epoch"] == said["epoch"]
    assert [row["k"] for row in written["scorings"]] == [0, 1, 2, 5, 10]
    assert set(said["epochs"]) == {"1", "2", "3"}
    full = {epoch: figures["full"] for epoch, figures in said["epochs"].items()}
    assert full[str(said["epoch"])] == said["validation_full"] == max(full.values())


def test_a_wrong_section_is_refused_before_anything_is_written(project):
    (project / "params.yaml").write_text("select: {weights: first}\n")
    with pytest.raises(ParamsError, match=r"select\.weights: 'first', expected one of"):
        select_from_files(HoiclipMethod, project / "params.yaml", project, project / "select")
    assert not (project / "select").exists()


def test_scores_are_those_of_the_evaluation(kept, validation):
    detector, _ = kept
    first, second = validation.scores(detector, [Scoring(k=0), Scoring(k=10)])
    assert set(first) == set(second) >= {"full", "rare", "non_rare"}
    assert 0 <= first["full"] <= 100


def test_a_method_without_labels_is_not_chosen_by_labels(project):
    with pytest.raises(ValueError, match=r"CLIP distillation .* learns without labels"):
        select_from_files(
            method_named("clip_distill"), project / "params.yaml", project, project / "select"
        )
