"""The benchmarks of the network at a tiny size: they run, and they compare equal things."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks import network, network_inputs, pieces
from hoiclip.core.files import read_json
from hoiclip.methods.hoiclip.model import interaction_decoder
from hoiclip.model import layers, transformer

TINY = network.SIZES["tiny"]
# What `pieces.use` replaces.
REPLACED = (
    (transformer, "attend"),
    (interaction_decoder, "attend"),
    (layers.FeedForwardBlock, "feed_forward"),
    (layers.FrozenBatchNorm2d, "forward"),
)


def test_both_networks_give_equal_outputs():
    plain, ours = (network.work_of(name, "forward", TINY)() for name in network.NETWORKS)
    assert plain.keys() == ours.keys()
    for name, expected in plain.items():
        np.testing.assert_allclose(ours[name], expected, rtol=1e-4, atol=1e-4, err_msg=name)


WITHOUT_DROPOUT = dataclasses.replace(
    TINY,
    model=TINY.model
    | {part: TINY.model[part] | {"dropout": 0.0} for part in ("detector", "interaction")},
)


def test_both_networks_give_equal_gradients_without_dropout():
    batch, gradients = network.Batch.make(TINY), []
    for name in network.NETWORKS:
        built, clip = network.build(name, WITHOUT_DROPOUT)
        outputs = network.forward_of(name, built.train(), clip)(batch)
        given = [value for value in vars(outputs).values() if value is not None]
        sum(value.square().mean() for value in given).backward()
        tensors = network.filled_tensors(built).items()
        gradients.append({key: tensor.grad for key, tensor in tensors if not frozen(key)})
    plain, ours = gradients
    assert plain.keys() == ours.keys()
    for name, expected in plain.items():
        # The first decoder layer attends to zeros: its gradients are rounding errors.
        tolerance = 1e-4 * expected.abs().max().item() + 1e-7
        torch.testing.assert_close(ours[name], expected, rtol=0, atol=tolerance, msg=name)


def test_both_networks_train_alike_without_dropout():
    steps = (network.work_of(name, "train", WITHOUT_DROPOUT) for name in network.NETWORKS)
    plain, ours = ([step()["total"].item() for _ in range(20)] for step in steps)
    assert plain[-1] < 0.9 * plain[0]
    np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=0)


@pytest.fixture
def float64():
    """Numbers made in the test have twice the digits."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def narrow() -> network.Size:
    """Without dropout, of a narrow backbone, so that a step takes little time."""
    detector = WITHOUT_DROPOUT.model["detector"]
    backbone = detector["backbone"] | {"channels": [8, 8, 8, 16]}
    model = WITHOUT_DROPOUT.model | {"detector": detector | {"backbone": backbone, "width": 16}}
    return dataclasses.replace(WITHOUT_DROPOUT, model=model, image=(64, 64))


@pytest.mark.usefixtures("float64")
def test_both_networks_train_alike_for_a_hundred_steps_in_float64():
    steps = (network.work_of(name, "train", narrow()) for name in network.NETWORKS)
    plain, ours = ([step()["total"] for _ in range(100)] for step in steps)
    assert {loss.dtype for loss in (*plain, *ours)} == {np.dtype("float64")}
    assert plain[-1] < 0.5 * plain[0]
    np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=0)


def frozen(name: str) -> bool:
    """Stem, first stage, and norms of the backbone."""
    body = "encoder.backbone.body."
    untrained = (f"{body}conv1", f"{body}layer1")
    return name.startswith(untrained) or (
        name.startswith(body) and ("bn" in name or "downsample.1" in name)
    )


@pytest.mark.parametrize("work", ["forward", pytest.param("train", marks=pytest.mark.slow)])
def test_it_runs(work, capsys):
    network.main(["--size", "tiny", "--repeat", "1", "--work", work])
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.split() == ["work", "network", "seconds", "CPU", "s", "held", "MB", "peak", "MB"]
    assert [line.split()[:2] for line in lines] == [
        [work, "plain"], [work, "hoiclip"], [work, "ratio"]
    ]  # fmt: skip
    rows = np.array([[float(cell) for cell in line.split()[2:]] for line in lines])
    np.testing.assert_allclose(rows[2, 2:], rows[1, 2:] / rows[0, 2:], atol=0.01)


@pytest.mark.parametrize(
    ("piece", "form"), [(piece, form) for piece, forms in pieces.FORMS.items() for form in forms]
)
def test_every_form_of_a_piece_computes_the_same(monkeypatch, piece, form):
    """Dropout, too, is the same, as every form draws it in the same way."""
    results = []
    for each in ("plain", form):
        with monkeypatch.context() as patched:
            for owner, name in REPLACED:
                patched.setattr(owner, name, getattr(owner, name))
            forward = pieces.work_of(piece, each, TINY)
            torch.manual_seed(1)
            results.append(forward().detach())
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_pieces_are_measured(tmp_path, capsys):
    out = tmp_path / "pieces.json"
    pieces.main(["--size", "tiny", "--repeat", "1", "--piece", "dropout", "--out", str(out)])
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["dropout", "plain"], ["dropout", "hand-made"]]
    rows = read_json(out)["pieces"]["dropout"]
    assert rows["plain"]["x plain"] == 1
    assert rows["hand-made"]["kept MB"] < rows["plain"]["kept MB"]


def test_the_committed_figures_are_of_every_form():
    found = read_json(network_inputs.ROOT / "benchmarks/pieces.json")["pieces"]
    assert {piece: set(rows) for piece, rows in found.items()} == {
        piece: set(forms) for piece, forms in pieces.FORMS.items()
    }
