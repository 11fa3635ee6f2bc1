from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from student_world import (
    BRANCHES,
    CLASSES,
    HOIS,
    MOST,
    World,
    make_student,
    make_targets,
    make_world,
    shake,
)

from hoiclip.methods.clip_distill.model.batch import TeacherTargets
from hoiclip.methods.clip_distill.model.config import DistillationLossConfig
from hoiclip.methods.clip_distill.model.losses import (
    distillation_losses,
    image_loss,
    most_related,
    pair_loss,
    tie_loss,
)
from hoiclip.methods.clip_distill.model.network import StudentOutputs

CONFIG = DistillationLossConfig()


def cross_entropy(probability: float, target: float) -> float:
    return -target * math.log(probability) - (1 - target) * math.log(1 - probability)


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def slow_losses(outputs: StudentOutputs, targets: TeacherTargets, pairs) -> dict[str, float]:
    """Pair by pair and class by class, in Python's numbers."""
    objects, images = pairs.objects.tolist(), pairs.image.tolist()
    sums = {"union": 0.0, "instance": 0.0}
    weights, best = 0.0, {}
    for row, (object_, image) in enumerate(zip(objects, images, strict=True)):
        weight = float(targets.weight[row])
        weights += weight * len(CLASSES[object_])
        related = sigmoid(float(outputs.relatedness_logits[row]))
        for place, hoi in enumerate(CLASSES[object_]):
            target = float(targets.union[row, place])
            u, p = (
                sigmoid(float(logits[row, place]))
                for logits in (outputs.union_logits, outputs.instance_logits)
            )
            sums["union"] += weight * cross_entropy(u, target)
            sums["instance"] += weight * cross_entropy(p, target)
            key = (image, hoi)
            best[key] = max(best.get(key, 0.0), math.sqrt(u * p) * related)
    detected = [
        (image, hoi)
        for image in range(len(targets.image))
        for hoi in range(HOIS)
        if targets.image_mask[image, hoi]
    ]
    of_images = [
        cross_entropy(sigmoid(float(outputs.global_logits[key])), float(targets.image[key]))
        for key in detected
    ]
    ties = [cross_entropy(best[key], float(targets.image[key])) for key in detected if key in best]
    related = {}
    for row, number in enumerate(pairs.instances.tolist()):
        both = (outputs.union_logits[row], outputs.instance_logits[row])
        total = sum(
            math.sqrt(math.prod(sigmoid(float(logits[place])) for logits in both))
            for place in range(len(CLASSES[objects[row]]))
        )
        if number not in related or total > related[number][0]:
            related[number] = (total, row)
    winners = {row for _, row in related.values()}
    relatedness = [
        cross_entropy(sigmoid(float(logit)), float(row in winners))
        for row, logit in enumerate(outputs.relatedness_logits)
    ]
    return {
        "union": sums["union"] / weights,
        "instance": sums["instance"] / weights,
        "image": sum(of_images) / len(of_images),
        "tie": 0.5 * sum(ties) / len(ties),
        "relatedness": 0.5 * sum(relatedness) / len(relatedness),
    }


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_what_a_slow_loop_gives(seed):
    image, objects = (0, 0, 0, 0, 1, 1, 3), (0, 1, 1, 0, 3, 0, 1)
    world = make_world(image, objects, images=4, seed=seed)
    world = world.with_pairs(instances=torch.tensor([5, 6, 6, 5, 0, 2, 3]))
    targets = make_targets(world, seed + 1)
    with torch.no_grad():
        outputs = shake(make_student(relatedness="self", seed=seed))(*world)
    found = distillation_losses(outputs, targets, world.pairs, CONFIG, relate=True)
    found = {name: float(value) for name, value in found.items()}
    assert found == pytest.approx(slow_losses(outputs, targets, world.pairs), rel=1e-5)


def test_pair_loss_by_hand():
    """Two pairs: one class at logit 0, target 1, weight 1; two at 0, target 0.5, weight 0.5. Every
    class costs ln 2; a padded one, whatever its logit, nothing."""
    logits = torch.tensor([[0.0, 9.0], [0.0, 0.0]])
    mask = torch.tensor([[True, False], [True, True]])
    targets = TeacherTargets(
        torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([1.0, 0.5]), None, None
    )
    assert float(pair_loss(logits, mask, targets)) == pytest.approx(math.log(2))
    # A pair without weight leaves the mean to the other.
    one = dataclasses.replace(targets, weight=torch.tensor([0.0, 0.5]))
    logits[1] = math.log(3)  # probability 3/4
    expected = -(math.log(0.75) + math.log(0.25)) / 2
    assert float(pair_loss(logits, mask, one)) == pytest.approx(expected)


def outputs_of(classes, mask, probability) -> StudentOutputs:
    """Of a union branch alone."""
    logits = torch.logit(torch.tensor(probability))
    return StudentOutputs(torch.tensor(classes), torch.tensor(mask), None, logits, None, None)


def test_tie_by_hand():
    """Class 0 has pairs of 0.25 and 0.5 in image 0, none in image 1; class 1 is not detected."""
    outputs = outputs_of([[0, 1], [0, 1]], [[True, True], [True, False]], [[0.25, 0.9], [0.5, 0.1]])
    targets = TeacherTargets(
        None, None, torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[True, False], [True, True]])
    )
    tie = tie_loss(outputs, targets, torch.zeros(2, dtype=torch.long))
    assert float(tie) == pytest.approx(math.log(2))


def test_padding_is_no_pair_of_class_0():
    """Filled-up places hold class 0, which must not get their probability."""
    outputs = outputs_of([[1, 0]], [[True, False]], [[0.5, 0.9]])
    targets = TeacherTargets(None, None, torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool))
    tie = tie_loss(outputs, targets, torch.zeros(1, dtype=torch.long))
    assert float(tie) == pytest.approx(math.log(2))


@pytest.mark.parametrize("logit", [-200.0, -20.0, 17.0, 25.0, 40.0, 200.0])
@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_a_tie_of_large_logits_has_the_gradient_of_a_cross_entropy(logit, target):
    """Probabilities of 1 to float32 are logits that still have to come down."""
    logits = torch.full((1, 1), logit, requires_grad=True)
    mask, zero = torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.long)
    outputs = StudentOutputs(zero, mask, None, logits, None, None)
    targets = TeacherTargets(None, None, torch.full((1, 1), target), mask)
    loss = tie_loss(outputs, targets, zero[0])
    loss.backward()
    if abs(logit) < 60:
        reference = torch.nn.functional.binary_cross_entropy_with_logits(
            logits.detach(), targets.image
        )
        torch.testing.assert_close(loss.detach(), reference)
        expected = sigmoid(logit) - target
        assert logits.grad.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_classes_of_other_objects_and_undetected_ones_get_no_gradient():
    logits = torch.zeros(2, HOIS, requires_grad=True)
    world = make_world()
    targets = make_targets(world)
    image_loss(logits, targets).backward()
    assert torch.equal(logits.grad != 0, targets.image_mask)


def gradients(student, loss) -> dict[str, float]:
    found = torch.autograd.grad(loss, list(student.parameters()), allow_unused=True)
    names = [name for name, _ in student.named_parameters()]
    return {
        name: 0.0 if gradient is None else float(gradient.abs().sum())
        for name, gradient in zip(names, found, strict=True)
    }


def test_the_tie_trains_pairs_and_not_the_global_branch():
    student, world = shake(make_student(relatedness="self")), make_world()
    terms = distillation_losses(
        student(*world), make_targets(world), world.pairs, CONFIG, relate=True
    )
    found = gradients(student, terms["tie"])
    assert all(value == 0 for name, value in found.items() if name.startswith("global_"))
    for part in ("union.", "instance.", "relatedness."):
        assert any(value > 0 for name, value in found.items() if name.startswith(part))


@pytest.mark.parametrize("term", ["union", "instance"])
def test_pair_terms_train_their_own_branch(term):
    student, world = shake(make_student()), make_world()
    terms = distillation_losses(
        student(*world), make_targets(world), world.pairs, CONFIG, relate=True
    )
    for name, value in gradients(student, terms[term]).items():
        assert (value > 0) <= name.startswith(f"{term}.")


@pytest.mark.parametrize(
    ("branches", "expected"),
    [
        (("global",), ["image"]),
        (("union",), ["tie", "union"]),
        (("instance",), ["instance", "tie"]),
        (BRANCHES, ["image", "instance", "tie", "union"]),
    ],
    ids=str,
)
def test_terms_of_the_branches_there_are(branches, expected):
    world = make_world()
    outputs = make_student(branches)(*world)
    terms = distillation_losses(outputs, make_targets(world), world.pairs, CONFIG, relate=True)
    assert sorted(terms) == expected


def test_weights_are_factors():
    student, world = shake(make_student(relatedness="self")), make_world()
    config = DistillationLossConfig(union=2, instance=3, image=4, tie=5, relatedness=6)
    one = DistillationLossConfig(union=1, instance=1, image=1, tie=1, relatedness=1)
    outputs, targets = student(*world), make_targets(world)
    with torch.no_grad():
        terms = distillation_losses(outputs, targets, world.pairs, config, relate=True)
        plain = distillation_losses(outputs, targets, world.pairs, one, relate=True)
    for name, factor in vars(config).items():
        assert terms[name].item() == pytest.approx(factor * plain[name].item())


def test_without_pairs_their_terms_are_zero_and_train_nothing():
    student = shake(make_student(relatedness="self"))
    world = make_world((), (), images=2)
    targets = TeacherTargets(
        torch.zeros(0, MOST), torch.zeros(0), torch.zeros(2, HOIS),
        torch.zeros(2, HOIS, dtype=torch.bool),
    )  # fmt: skip
    for relate in (False, True):
        terms = distillation_losses(student(*world), targets, world.pairs, CONFIG, relate=relate)
        assert {name: value.item() for name, value in terms.items()} == dict.fromkeys(
            ("union", "instance", "image", "tie", "relatedness"), 0.0
        )
        student.zero_grad()
        sum(terms.values()).backward()
        used = [parameter.grad for parameter in student.parameters()]
        assert all(gradient is not None and (gradient == 0).all() for gradient in used)


def test_images_without_pairs_leave_the_terms_of_the_others_alone():
    student = shake(make_student())
    alone = make_world((0, 0), (0, 1), images=1)
    beside = World(
        torch.cat([torch.randn_like(alone.tokens), alone.tokens, alone.tokens + 1]),
        alone.global_feature.repeat(3, 1),
        dataclasses.replace(alone.pairs, image=torch.tensor([1, 1])),
    )
    targets = make_targets(alone)
    nothing = torch.zeros(1, HOIS)
    widened = dataclasses.replace(
        targets,
        image=torch.cat([nothing, targets.image, nothing]),
        image_mask=torch.cat([nothing.bool(), targets.image_mask, nothing.bool()]),
    )
    first = distillation_losses(student(*alone), targets, alone.pairs, CONFIG, relate=False)
    second = distillation_losses(student(*beside), widened, beside.pairs, CONFIG, relate=False)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value)


def test_pairs_without_any_weight_are_zero():
    student, world = shake(make_student()), make_world()
    targets = dataclasses.replace(make_targets(world), weight=torch.zeros(5))
    terms = distillation_losses(student(*world), targets, world.pairs, CONFIG, relate=True)
    assert terms["union"].item() == terms["instance"].item() == 0
    sum(terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in student.parameters())


@given(target=st.floats(0.01, 0.99), start=st.floats(-4, 4))
@settings(max_examples=30, deadline=None)
def test_every_term_is_least_at_the_soft_target(target, start):
    """Descending from anywhere ends at the teacher's probability, not beyond it."""
    mask = torch.ones(1, 1, dtype=torch.bool)
    soft = torch.full((1, 1), target)
    targets = TeacherTargets(soft, torch.ones(1), soft, mask)

    def tie(logit: torch.Tensor) -> torch.Tensor:
        zero = torch.zeros(1, 1, dtype=torch.long)
        outputs = StudentOutputs(zero, mask, None, logit, None, None)
        return tie_loss(outputs, targets, zero[0])

    terms = (lambda x: pair_loss(x, mask, targets), lambda x: image_loss(x, targets), tie)
    for term in terms:
        at_target = torch.logit(soft.double()).requires_grad_()
        (slope,) = torch.autograd.grad(term(at_target.float()), at_target)
        assert abs(float(slope)) < 1e-5
        away = torch.full((1, 1), start)
        assert float(term(away)) >= float(term(at_target.detach().float())) - 1e-6


def test_the_most_related_pair_of_each_object():
    outputs = outputs_of(
        [[0, 1]] * 5,
        [[True, True], [True, True], [True, True], [True, False], [True, True]],
        [[0.25, 0.25], [0.5, 0.125], [0.9, 0.9], [0.1, 0.9], [0.125, 0.5]],
    )
    # Object 4 has rows 0, 1 and 4 (sums 0.5, 0.625, 0.625), the others one each.
    assert most_related(outputs, torch.tensor([4, 4, 1, 3, 4])).tolist() == [0, 1, 1, 1, 0]
    # Padding is not counted: row 3 has 0.1, not 1.0.
    assert most_related(outputs, torch.tensor([4, 4, 1, 4, 4])).tolist() == [0, 1, 1, 0, 0]


def test_relatedness_is_not_learnt_at_first():
    student, world = shake(make_student(relatedness="self")), make_world()
    terms = distillation_losses(
        student(*world), make_targets(world), world.pairs, CONFIG, relate=False
    )
    assert terms["relatedness"].item() == 0
    terms = distillation_losses(
        student(*world), make_targets(world), world.pairs, CONFIG, relate=True
    )
    assert terms["relatedness"].item() > 0


def test_a_student_learns_its_teacher():
    """Descent brings the probabilities near soft targets that a student can reach."""
    torch.manual_seed(0)
    student, world = make_student(), make_world()
    targets = make_targets(world)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        terms = distillation_losses(student(*world), targets, world.pairs, CONFIG, relate=False)
        loss = sum(terms.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_what_the_mask_leaves_out_changes_neither_the_tie_nor_its_gradient():
    """Whatever stands there: it takes no part, as no pair of that class would."""
    targets = TeacherTargets(None, None, torch.tensor([[0.4, 0.7]]), torch.tensor([[True, True]]))
    found = []
    for padded in (0.5, 1.0, 0.0):
        outputs = outputs_of(
            [[0, 0], [1, 0]], [[True, False], [True, False]], [[0.3, padded], [0.6, padded]]
        )
        outputs.union_logits.requires_grad_()
        loss = tie_loss(outputs, targets, torch.tensor([0, 0]))
        (gradient,) = torch.autograd.grad(loss, outputs.union_logits)
        found.append((float(loss.detach()), gradient[:, 0].tolist()))
    assert found[0] == found[1] == found[2]
    expected = (cross_entropy(0.3, 0.4) + cross_entropy(0.6, 0.7)) / 2
    assert found[0][0] == pytest.approx(expected)
