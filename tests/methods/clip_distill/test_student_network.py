from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from student_world import (
    BRANCHES,
    CLASSES,
    EMBED,
    GRID,
    HOIS,
    MOST,
    make_student,
    make_tables,
    make_world,
    shake,
)

from hoiclip.clip.encoder import ClipVisual
from hoiclip.methods.clip_distill.model.config import StudentConfig
from hoiclip.methods.clip_distill.model.network import (
    Adapter,
    patch_grid,
    region_features,
)

PAIR_FIELDS = (
    "image", "human_boxes_xyxy", "object_boxes_xyxy", "union_boxes_xyxy", "human_features",
    "object_features", "geometry", "objects", "instances",
)  # fmt: skip
SUBSETS = [s for n in (1, 2, 3) for s in itertools.combinations(BRANCHES, n)]


def real_clip(clip_config) -> tuple[ClipVisual, torch.Tensor]:
    """A tiny CLIP ViT whose patches differ from each other, and two images for it."""
    torch.manual_seed(3)
    clip = ClipVisual(clip_config)
    with torch.no_grad():
        clip.tower.ln_post.weight.normal_(1, 0.5)
        clip.tower.ln_post.bias.normal_()
    return clip, torch.randn(2, 3, clip.image_size, clip.image_size)


def with_clip(clip: ClipVisual, pixels: torch.Tensor, world):
    return world._replace(**clip.encode_image_tokens(pixels)._asdict())


def test_untrained_union_branch_ranks_as_clip_does(clip_config):
    """Of the mean patch of the union in CLIP's shared space, within the classes of the object."""
    clip, pixels = real_clip(clip_config)
    student = make_student(visual_projection=clip.visual_projection, temperature=100.0)
    world = with_clip(clip, pixels, make_world((0, 1), (1, 1)))
    whole = torch.tensor([[0.0, 0, 1, 1]] * 2)
    logits = student(*world.with_pairs(union_boxes_xyxy=whole)).union_logits
    # What the tower does with CLS, done with the patches: its last norm, then its projection.
    blocks = clip.tower.forward_intermediates(
        pixels, indices=1, normalize_intermediates=False, output_fmt="NLC"
    )["image_intermediates"][-1]
    patches = clip.tower.ln_post(blocks) @ clip.tower.proj
    cosines = F.normalize(patches.mean(1), dim=-1) @ student.texts.embeddings[[1, 3, 4]].T
    assert torch.equal(logits.argsort(1), cosines.argsort(1))
    expected = 100 * (cosines - cosines.mean(1, keepdim=True))  # the object has no null prompt
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-4)


def test_untrained_global_branch_ranks_as_clip_does(clip_config):
    clip, pixels = real_clip(clip_config)
    student = make_student(visual_projection=clip.visual_projection, temperature=100.0)
    logits = student(*with_clip(clip, pixels, make_world())).global_logits
    cosines = F.normalize(clip.encode_image(pixels), dim=-1) @ student.texts.embeddings.T
    for image, classes in itertools.product(range(2), CLASSES.values()):
        expected = cosines[image, classes].argsort().tolist()
        assert logits[image, classes].argsort().tolist() == expected
    both = logits[:, [1, 3, 4]]
    expected = 100 * (cosines[:, [1, 3, 4]] - cosines[:, [1, 3, 4]].mean(1, keepdim=True))
    torch.testing.assert_close(both, expected, atol=1e-3, rtol=1e-4)


def test_adapter_starts_as_identity_and_learns():
    adapter, x = Adapter(6), torch.randn(4, 6)
    assert torch.equal(adapter(x), x)
    adapter(x).sum().backward()
    assert adapter.outer.weight.grad.abs().sum() > 0
    assert sum(p.numel() for p in adapter.parameters()) == 2 * 6 * 3 + 6 + 3


def test_parameters_at_the_size_of_vit_b_32():
    """Adapters 2 · 262,912; geometry 37,760; joint 1,792 → 512; attention; feed-forward; norms."""
    wide = dataclasses.replace(make_tables(), hoi=torch.randn(6, 512), null=torch.randn(4, 512))
    student = make_student(tables=wide, visual_projection=torch.randn(768, 512), detector_width=256)
    assert sum(p.numel() for p in student.parameters()) == 3_585_408 + 6


def test_scales_and_biases_start_where_they_should():
    student = make_student(temperature=100.0)
    for branch, temperature in ((student.global_, 100), (student.union, 100)):
        assert branch.score.log_scale.item() == pytest.approx(math.log(temperature))
    assert student.instance.score.log_scale.exp().item() == pytest.approx(1 / 0.07)
    assert all(b.score.bias.item() == 0 for b in (student.global_, student.union, student.instance))


def test_texts_and_projection_are_frozen():
    student = make_student()
    names = {name for name, _ in student.named_parameters()}
    assert not any("texts" in name or "visual_projection" in name for name in names)
    state = set(student.state_dict())
    assert {"visual_projection", "texts.embeddings", "texts.centres"} <= state


def test_a_restored_student_says_the_same():
    student = shake(make_student(relatedness="self"))
    other = make_student(
        tables=dataclasses.replace(make_tables(), hoi=torch.zeros(HOIS, EMBED)), relatedness="self",
        visual_projection=torch.zeros(16, EMBED), seed=9,
    )  # fmt: skip
    other.load_state_dict(student.state_dict())
    assert torch.equal(other(*make_world()).probability, student(*make_world()).probability)


@pytest.mark.parametrize("branches", SUBSETS, ids="+".join)
def test_every_choice_of_branches(branches):
    student = shake(make_student(branches))
    outputs = student(*make_world())
    found = {name: value for name, value in vars(outputs).items() if value is not None}
    assert {f"{name}_logits" for name in branches} == {n for n in found if n.endswith("_logits")}
    factors = [
        logits.sigmoid()
        for logits in (outputs.union_logits, outputs.instance_logits)
        if logits is not None
    ]
    mask = outputs.mask
    expected = math.prod(f ** (1 / len(factors)) for f in factors) * mask
    torch.testing.assert_close(outputs.probability, expected if factors else mask.float())
    # What is left out has no weights.
    text = " ".join(name for name, _ in student.named_parameters())
    assert {n for n in BRANCHES if n.replace("global", "global_") in text} == set(branches)


def test_the_probability_is_the_geometric_mean_of_both_branches():
    outputs = shake(make_student())(*make_world())
    u, p = outputs.union_logits[1, 2].sigmoid(), outputs.instance_logits[1, 2].sigmoid()
    assert outputs.probability[1, 2].item() == pytest.approx(((u * p) ** 0.5).item())


def test_relatedness_multiplies_the_probability():
    outputs = shake(make_student(relatedness="self"))(*make_world())
    related = outputs.relatedness_logits.sigmoid()
    assert related.shape == (5,)
    agreement = outputs.log_agreement.exp() * outputs.mask
    torch.testing.assert_close(outputs.probability, agreement * related[:, None])


def test_heads_have_to_divide_the_width():
    config = StudentConfig(branches=["instance"], bank_heads=5, relatedness="none", dropout=0.1)
    with pytest.raises(ValueError, match="bank_heads: 5"):
        make_student(config=config)


def test_dropout_is_for_training_alone():
    student, world = shake(make_student()), make_world()
    quiet = [student(*world).instance_logits for _ in range(2)]
    assert torch.equal(*quiet)
    student.train()
    assert not torch.equal(*[student(*world).instance_logits for _ in range(2)])
    assert torch.equal(student(*world).union_logits, student.eval()(*world).union_logits)


def test_only_classes_of_the_object_have_a_probability():
    outputs = shake(make_student())(*make_world())
    for row, object_ in enumerate(make_world().pairs.objects.tolist()):
        assert outputs.classes[row][outputs.mask[row]].tolist() == CLASSES[object_]
    assert (outputs.probability[outputs.mask] > 0).all()
    for values in (outputs.probability, outputs.union_logits, outputs.instance_logits):
        assert values.shape == (5, MOST)
        assert (values[~outputs.mask] == 0).all()


def test_pairs_in_another_order_give_the_same_in_that_order():
    student, world = shake(make_student(relatedness="self")), make_world()
    order = torch.tensor([3, 0, 4, 2, 1])
    moved = world.with_pairs(**{f: getattr(world.pairs, f)[order] for f in PAIR_FIELDS})
    before, after = student(*world), student(*moved)
    for name in ("classes", "union_logits", "instance_logits", "probability"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name)[order])
    torch.testing.assert_close(after.global_logits, before.global_logits)


def test_a_pair_depends_on_its_own_image_alone():
    student, world = shake(make_student()), make_world()
    tokens = world.tokens.clone()
    tokens[1] += 1
    before, after = student(*world), student(*world._replace(tokens=tokens))
    changed = (before.union_logits != after.union_logits).any(1)
    assert changed[:3].sum() == 0
    assert changed[3:].all()


@pytest.mark.parametrize("field", PAIR_FIELDS[1:7])
def test_every_input_of_a_pair_matters(field):
    student, world = shake(make_student()), make_world()
    other = world.with_pairs(**{field: getattr(world.pairs, field) * 0.7})
    before, after = student(*world), student(*other)
    moved = "union_logits" if field.startswith("union") else "instance_logits"
    still = "instance_logits" if field.startswith("union") else "union_logits"
    assert not torch.allclose(getattr(before, moved), getattr(after, moved))
    assert torch.equal(getattr(before, still), getattr(after, still))


def test_the_bank_of_texts_reaches_the_instance_branch():
    student, world = shake(make_student()), make_world()
    zeros = torch.zeros(5, EMBED)
    seen = student.instance(world.pairs, zeros, zeros, student.texts.embeddings)
    other = student.instance(world.pairs, zeros, zeros, student.texts.embeddings.roll(1, 1))
    assert not torch.allclose(seen, other)


def test_images_without_pairs():
    student = shake(make_student(relatedness="self"))
    outputs = student(*make_world((), (), images=3))
    assert outputs.global_logits.shape == (3, HOIS)
    for values in (outputs.union_logits, outputs.instance_logits, outputs.probability):
        assert values.shape == (0, MOST)
    assert outputs.relatedness_logits.shape == (0,)


def test_a_pair_without_object_is_scored_on_its_own_classes():
    world = make_world((0,), (3,), images=1)
    zero = {"object_boxes_xyxy": torch.zeros(1, 4), "object_features": torch.zeros(1, 8)}
    outputs = shake(make_student())(*world.with_pairs(**zero))
    assert outputs.classes[outputs.mask].tolist() == [5]
    assert torch.isfinite(outputs.instance_logits).all()


def test_region_features_by_hand():
    """A grid of 2 x 2 whose feature is the column: 0 on the left, 1 on the right."""
    patches = torch.tensor([[0.0, 1.0], [0.0, 1.0]])[None, :, :, None]
    boxes = torch.tensor([[0, 0, 1, 1], [0.25, 0, 0.75, 1], [0, 0, 0.25, 1], [0, 0, 0, 0.0]])
    found = region_features(patches, torch.zeros(4, dtype=torch.long), boxes)
    # Samples left of the first cell's centre see that cell alone; an empty box sees nothing.
    assert found.flatten().tolist() == pytest.approx([0.5, 0.5, 0.0, 0.0], abs=1e-6)


def test_region_features_take_the_pairs_image_and_x_before_y():
    patches = torch.zeros(2, 4, 4, 1)
    patches[1, 0, 3] = 1  # upper right of the second image
    corner = torch.tensor([[0.75, 0, 1, 0.25]] * 2 + [[0, 0.75, 0.25, 1]])
    found = region_features(patches, torch.tensor([0, 1, 1]), corner).flatten()
    assert float(found[1]) > 0.5
    assert float(found[0]) == float(found[2]) == 0


def test_projecting_first_equals_pooling_first():
    torch.manual_seed(0)
    patches, projection = torch.randn(1, 4, 4, 8), torch.randn(8, 5)
    image, boxes = torch.zeros(1, dtype=torch.long), torch.tensor([[0.1, 0.2, 0.8, 0.5]])
    torch.testing.assert_close(
        region_features(patches @ projection, image, boxes),
        region_features(patches, image, boxes) @ projection,
    )


def test_patches_without_cls_by_row():
    tokens = torch.arange(1 + GRID**2).float().reshape(1, -1, 1)
    assert patch_grid(tokens)[0, :, :, 0].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match="3 patches"):
        patch_grid(tokens[:, :4])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("relatedness", ["none", "self"])
def test_the_student_compiles_to_one_graph_of_any_number_of_pairs(training, relatedness):
    student = make_student(relatedness=relatedness).train(training)
    # This back end takes the graph as it is, so that no compiler is needed.
    compiled = torch.compile(student, fullgraph=True, backend="eager")
    for world in (make_world(), make_world((0, 1), (1, 1))):
        torch.manual_seed(3)
        found = vars(compiled(*world))
        torch.manual_seed(3)
        for name, expected in vars(student(*world)).items():
            torch.testing.assert_close(found[name], expected, msg=name)
