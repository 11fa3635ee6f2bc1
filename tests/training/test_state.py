"""What a resumed training starts from is what it saved, or refused."""

import dataclasses
import math

import pytest
import torch

from hoiclip.errors import InputError
from hoiclip.training.state import Progress, ResumeFolder

WHOLE = Progress(2, 8, 1.5, [(8, 2.0, "epoch/full", 20.0)])


def parts():
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1)


def test_a_schedule_of_another_kind_is_refused(tmp_path):
    made = parts()
    made[2].last_epoch = None
    file = ResumeFolder(tmp_path, {"seed": 0}, {})
    file.save(WHOLE, *made)
    with pytest.raises(InputError, match=r"does not fit this model \(schedule, last_epoch\)"):
        file.load(*parts())


def saved(folder, **changes):
    made = parts()
    file = ResumeFolder(folder, {"seed": 0}, {})
    file.save(dataclasses.replace(WHOLE, **changes), *made)
    return file


def test_progress_returns(tmp_path):
    assert saved(tmp_path).load(*parts()) == WHOLE


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": "x"}, {"epoch": -1}, {"step": 1.5}, {"step": None}, {"seconds": math.nan},
        {"seconds": "1"}, {"history": 7}, {"history": [(1, 2)]}, {"history": [(1, "x", "a", 2)]},
    ],
)  # fmt: skip
def test_progress_of_another_kind_is_refused_in_one_line(tmp_path, changes):
    with pytest.raises(InputError, match=r"state\.pt: .*Delete .* to start this stage") as info:
        saved(tmp_path, **changes).load(*parts())
    assert "\n" not in str(info.value)
