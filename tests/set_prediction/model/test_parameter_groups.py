import dataclasses

import pytest
import torch

from hoiclip.core.config import from_mapping
from hoiclip.set_prediction.config import TrainConfig
from hoiclip.set_prediction.model import parameter_groups as module
from hoiclip.training.optimizer import build_optimizer


@pytest.fixture
def config(params):
    return from_mapping(TrainConfig, params["train"], "train")


@pytest.fixture
def model(make_detector):
    return make_detector().method.network.train()


def parameter_groups(model, config):
    backbone = model.encoder.backbone
    return module.parameter_groups(model, backbone, config)


def names_in(model, parameters):
    name_of = {id(p): name for name, p in model.named_parameters()}
    return {name_of[id(p)] for p in parameters}


def test_every_trained_parameter_is_in_exactly_one_group(model, config):
    groups = parameter_groups(model, config)
    grouped = [id(p) for group in groups for p in group["params"]]
    trained = [id(p) for p in model.parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trained)
    assert len(set(grouped)) == len(grouped)
    assert [group["lr"] for group in groups] == [config.lr, config.lr_backbone]
    backbone = names_in(model, groups[1]["params"])
    assert backbone
    assert all(name.startswith("encoder.backbone.body.layer") for name in backbone)
    assert not any("backbone" in name for name in names_in(model, groups[0]["params"]))


def test_stem_and_first_stage_are_frozen_and_nothing_else(model, config):
    parameter_groups(model, config)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    stages = {name.removeprefix("encoder.backbone.body.").split(".")[0] for name in frozen}
    assert stages == {"conv1", "layer1"}
    first_stage = [n for n, _ in model.named_parameters() if ".body.layer1." in n]
    assert set(first_stage) <= frozen


def test_backbone_rate_zero_freezes_the_whole_backbone(model, config):
    groups = parameter_groups(model, dataclasses.replace(config, lr_backbone=0.0))
    assert len(groups) == 1
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {n for n, _ in model.named_parameters() if n.startswith("encoder.backbone.")}
    assert "encoder.input_projection.weight" in names_in(model, groups[0]["params"])


def test_frozen_parameters_get_no_gradient_and_stay(model, config):
    optimizer, _ = build_optimizer(parameter_groups(model, config), config)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    outputs = model(torch.randn(1, 3, 64, 64), None, torch.randn(1, 5, 16), torch.randn(1, 12))
    sum(value.square().sum() for value in vars(outputs).values() if value is not None).backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) != parameter.requires_grad, name
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), name


def test_weight_decay_is_on_every_tensor(model, config):
    optimizer, _ = build_optimizer(
        parameter_groups(model, config), dataclasses.replace(config, weight_decay=0.125)
    )
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.125}


def test_rate_drops_once_at_the_given_epoch(model, config):
    config = dataclasses.replace(config, lr_drop_epoch=2, lr_drop_factor=0.1)
    optimizer, schedule = build_optimizer(parameter_groups(model, config), config)
    rates = []
    for _ in range(4):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    high, low = [config.lr, config.lr_backbone], [config.lr * 0.1, config.lr_backbone * 0.1]
    for found, expected in zip(rates, [high, high, low, low], strict=True):
        assert found == pytest.approx(expected)
