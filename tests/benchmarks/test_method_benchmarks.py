"""Benchmarks of whole methods, of crops and of the pipeline: plain forms are equal, sums are right.

All at a tiny size. What a run prints is tested where it is made of given figures.
"""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks import all as all_benchmarks
from benchmarks import crops, methods, pipeline
from benchmarks.flops import count_flops, matmul_peak
from benchmarks.method_data import InOrder, write_images
from benchmarks.method_work import Job, Work
from benchmarks.published import PROFILES, Published

FORMS = {"plain": True, "hoiclip": False}
IMAGES = 4


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, IMAGES)
    return folder


def job(images, method="hoiclip", work="infer", **changes):
    made = Job(
        method, work, False, "float32", False, "cpu", 2, 1, 0, images, IMAGES, "tiny", 0.0
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def both(images, method, work):
    return [Work(job(images, method, work, plain=plain)) for plain in FORMS.values()]


@pytest.mark.parametrize("method", PROFILES)
def test_both_forms_find_the_same_pairs(images, method):
    plain, ours = (vars(work.step(work.batch)[0]) for work in both(images, method, "infer"))
    assert len(plain["score"]) > 5
    for name in ("score", "human_boxes_xyxy", "object_boxes_xyxy"):
        np.testing.assert_allclose(ours[name], plain[name], rtol=1e-3, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("method", PROFILES)
def test_both_forms_have_the_same_losses_and_gradients_without_dropout(images, method):
    losses, norms = [], []
    for work in both(images, method, "train"):
        made = work.method
        made.network.eval()
        terms = made.training_step(work.batch, made.frozen_features(work.batch.clip_pixels))
        sum(terms.values()).backward()
        losses.append({name: term.item() for name, term in terms.items()})
        gradients = [p.grad for p in made.network.parameters() if p.grad is not None]
        norms.append(float(torch.nn.utils.get_total_norm(gradients)))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert norms[1] == pytest.approx(norms[0], rel=1e-2)


@pytest.mark.parametrize("method", PROFILES)
def test_inference_runs_in_bf16(images, method):
    exact, rough = (
        Work(job(images, method, precision=precision)) for precision in ("float32", "bf16")
    )
    (expected,), (found,) = (work.step(work.batch) for work in (exact, rough))
    assert found.score.max() == pytest.approx(expected.score.max(), rel=0.1)


def test_a_work_takes_turns(images):
    work = Work(job(images, "clip_distill", "train", turn=0.001))
    assert work() == (0, 0.0)  # the first one is not counted
    steps, seconds = work()
    assert steps == work.steps >= 1
    assert seconds > 0
    assert 0 < work.waiting(1) < 1
    assert work.flops() > 1e6


def test_published_sizes_are_the_profiles():
    found = Published.of("gen_vlkt", "published")
    assert found.params["method"] == "gen_vlkt"
    assert found.gen_vlkt.num_queries == 64
    assert found.gen_vlkt.detector.backbone.layers == [3, 4, 6, 3]
    assert found.train.transforms.scales == [800]
    assert found.train.batch_size == methods.BATCH["cuda"]
    assert found.clip["model_cfg"]["vision_cfg"]["width"] == 768


def test_batches_in_order_are_alike():
    order = InOrder(6, 2, seed=0)
    assert list(order.epoch(3)) == [[[0, 1]], [[2, 3]], [[4, 5]]]
    assert list(order.epoch(0, done=2)) == [[[4, 5]]]


def test_operations_are_counted():
    a, b = torch.randn(3, 4), torch.randn(4, 5)
    assert count_flops(lambda: a @ b) == 2 * 3 * 4 * 5
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(1, 6, 8)
    with torch.no_grad():  # where a fused operation would hide them
        counted = count_flops(lambda: attention(x, x, x, need_weights=False))
    assert counted == 2 * (4 * 6 * 8 * 8 + 2 * 6 * 6 * 8)
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_peak_is_a_speed():
    assert matmul_peak("cpu", "float32", threads=1, side=64) > 1e6


def test_figures_are_medians_and_ratios_are_of_the_same_turn():
    found = methods.figures([1.0, 4.0, 2.0], [2.0, 16.0, 2.0], batch=8, flops=6.0, peak=30.0)
    assert found == {"images/s": 4.0, "x plain": 2.0, "MFU": 0.1}


ROW = {"images/s": 1.5, "x plain": 1.25, "peak MB": 900.4, "waits": 0.015, "MFU": 0.5}
METHODS = [
    {
        "method": "hoiclip", "work": "train", "device": "cuda",
        "forms": {"bf16": ROW, "plain": ROW},
        "errors": {"bf16, compiled": "OutOfMemoryError: of it"},
    }
]  # fmt: skip


def test_the_table_of_methods():
    title, line, plain, row, failed = methods.table(METHODS)
    assert plain.startswith("| hoiclip | train | cuda | plain |")
    assert title == "| Method | work | device | form | images/s | x plain | peak MB | waits | MFU |"
    assert line == "|---|---|---|---|---|---|---|---|---|"
    assert row == "| hoiclip | train | cuda | bf16 | 1.50 | 1.25 | 900 | 1.5% | 50.0% |"
    assert failed.startswith(
        "| hoiclip | train | cuda | bf16, compiled | OutOfMemoryError: of it |"
    )
    assert failed.count("|") == title.count("|")


def test_an_error_is_one_cell():
    assert methods.said(RuntimeError("a | b\nand more")) == "RuntimeError: a / b"
    assert methods.said(ValueError()) == "ValueError: "


def test_both_passes_over_crops_have_the_same_sums(images):
    made = (crops.work_of(form, "cpu", images, IMAGES, "tiny", 1, 0) for form in crops.FORMS)
    (plain, count), (ours, other_count) = (work() for work in made)
    assert count == other_count == IMAGES * 4 * 2
    np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4)
    assert crops.turn(lambda: (plain, 3)) > 0


PIPELINE = {
    "stages": [("weights", 2.0), ("splits", 1.0)],
    "dvc": {"dry": 0.5, "nothing to do": 0.75, "version": 0.25},
}


def test_the_table_of_the_pipeline():
    assert list(pipeline.table(PIPELINE))[2:] == [
        "| weights | 2.0 |",
        "| splits | 1.0 |",
        "| all stages | 3.0 |",
        "| `dvc repro` | 0.75 |",
        "| `dvc repro --dry` | 0.50 |",
        "| `dvc --version` | 0.25 |",
    ]


def test_stages_are_read_from_what_dvc_prints():
    printed = (
        "Running stage 'dataset':\n> python -m stages.dataset\n\n"
        "Running stage 'methods/hoiclip/dvc.yaml:train':\n> python -m stages.hoiclip.train\n"
        "Stage 'splits' didn't change, skipping\n"
    )
    assert pipeline.stages_of(printed) == ["dataset", "methods/hoiclip/dvc.yaml:train"]


def test_a_command_that_fails_is_named(tmp_path):
    with pytest.raises(RuntimeError, match="git frobnicate: exit code 1"):
        pipeline.run(["git", "frobnicate"], tmp_path)


def test_the_page_has_every_part():
    machine = {"date": "2026-01-01", "cores": 2, "load": [0.1, 0.2, 0.3]}
    page = all_benchmarks.page(
        {
            "methods": {"machine": machine, "results": METHODS},
            "crops": {"machine": machine, "crops per second": {"cpu": {"hoiclip": 6, "plain": 2}}},
            "pipeline": {"machine": machine, **PIPELINE},
        }
    )
    for title in all_benchmarks.PARTS.values():
        assert f"## {title}\n" in page
    assert "`python -m benchmarks.crops`; date 2026-01-01, cores 2, load [0.1, 0.2, 0.3]." in page
    assert "| cpu | hoiclip | 6.0 | 3.00 |" in page
