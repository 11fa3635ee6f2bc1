"""What a resumed training starts from is what it saved, or refused."""

import dataclasses
import math

import pytest
import torch

from hoiclip.errors import InputError
from hoiclip.training.state import Progress, ResumeFolder

WHOLE = Progress(2, 8, 1, 1.5, [(8, 2.0, "epoch/full", 20.0)], {"hoi": 1.5}, [{"hoi": 1.5}])


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
        file.restore(file.read(), *parts())


def saved(folder, **changes):
    made = parts()
    file = ResumeFolder(folder, {"seed": 0}, {})
    file.save(dataclasses.replace(WHOLE, **changes), *made)
    return file


def test_progress_returns(tmp_path):
    file = saved(tmp_path)
    assert file.restore(file.read(), *parts()) == WHOLE


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": "x"}, {"epoch": -1}, {"step": 1.5}, {"step": None}, {"seconds": math.nan},
        {"seconds": "1"}, {"history": 7}, {"history": [(1, 2)]}, {"history": [(1, "x", "a", 2)]},
        {"done": -1}, {"sums": {"hoi": "x"}}, {"sums": 3}, {"pending": [{"hoi": None}]},
    ],
)  # fmt: skip
def test_progress_of_another_kind_is_refused_in_one_line(tmp_path, changes):
    file = saved(tmp_path, **changes)
    with pytest.raises(InputError, match=r"state\.pt: .*Delete .* to start this stage") as info:
        file.restore(file.read(), *parts())
    assert "\n" not in str(info.value)


def test_rows_are_means_since_the_last_one():
    progress = Progress()
    for step, value in enumerate((1.0, 2.0, 6.0), 1):
        progress.step, progress.done = step, step
        progress.add([{"hoi": value}], record=0.75 if step == 3 else None)
    assert progress.history == [(3, 0.75, "loss/hoi", 3.0)]
    progress.step = progress.done = 4
    progress.add([{"hoi": 7.0}], record=1.0)
    assert progress.history[1:] == [(4, 1.0, "loss/hoi", 7.0)]
    assert progress.close_epoch(0.5) == {"loss/hoi": 4.0, "lr": 0.5}
    assert (progress.epoch, progress.done, progress.sums) == (1, 0, {})
    assert progress.history[2:] == [(4, 1.0, "epoch/loss/hoi", 4.0), (4, 1.0, "epoch/lr", 0.5)]
