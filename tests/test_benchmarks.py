"""The benchmark of the network at a tiny size: it runs, and it compares equal things."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks import network

TINY = network.SIZES["tiny"]


def test_both_networks_give_equal_outputs():
    plain, ours = (network.work_of(name, "forward", TINY)() for name in network.NETWORKS)
    assert plain.keys() == ours.keys()
    for name, expected in plain.items():
        np.testing.assert_allclose(ours[name], expected, rtol=1e-4, atol=1e-4, err_msg=name)


def test_both_networks_give_equal_gradients_without_dropout():
    model = TINY.model | {
        part: TINY.model[part] | {"dropout": 0.0} for part in ("detector", "interaction")
    }
    size, batch = dataclasses.replace(TINY, model=model), network.Batch.make(TINY)
    gradients = []
    for name in network.NETWORKS:
        built, clip = network.build(name, size)
        outputs = network.forward_of(name, built.train(), clip)(batch)
        values = [value for value in vars(outputs).values() if value is not None]
        sum(value.square().mean() for value in values).backward()
        tensors = network.filled_tensors(built).items()
        gradients.append({key: tensor.grad for key, tensor in tensors if not frozen(key)})
    plain, ours = gradients
    assert plain.keys() == ours.keys()
    for name, expected in plain.items():
        # The first decoder layer attends to zeros: its gradients are rounding errors.
        tolerance = 1e-4 * expected.abs().max().item() + 1e-7
        torch.testing.assert_close(ours[name], expected, rtol=0, atol=tolerance, msg=name)


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
