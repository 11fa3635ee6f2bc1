"""State files of interrupted work: whole ones of strange content, and damaged ones."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import torch
from case import Case
from checkpoint_inputs import damaged_state
from damage import STRANGE, damaged_bytes
from hypothesis import strategies as st

from hoiclip.parallel.world import World
from hoiclip.passes import ShardedPass
from hoiclip.resume.archive import write_archive
from hoiclip.resume.state_file import StateFile
from hoiclip.training.state import Progress, ResumeFolder

# Folder, key and code of the work.
WORK = (Path("states"), {"seed": 0}, {"hoiclip/a.py": "1"})
FOLDER = WORK[0]


def training():
    """A network, its optimizer and schedule."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1)


def step(model, optimizer, schedule):
    """What comes next in a training."""
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    schedule.step()


def sums():
    """A shard of a pass over crops."""
    return {"sums": torch.zeros(4, 8).double(), "rows": torch.zeros(3, dtype=torch.int64)}


def join(shards):
    """The whole of one shard."""
    (shard,) = shards
    return sums()["sums"] + shard["sums"], sums()["rows"] + shard["rows"]


def sums_pass():
    """The pass."""
    return ShardedPass(*WORK, World())


@cache
def contents():
    """What is saved, by the name of the work."""
    parts = training()
    step(*parts)
    progress = Progress(1, 1, 0.5, [(1, 1.0, "epoch/full", 20.0)])
    ResumeFolder(*WORK).save(progress, *parts)
    file = StateFile(*WORK)
    made = {"training": file.load(), "sums": sums()}
    file.delete()
    return made


@st.composite
def states(draw):
    work = draw(st.sampled_from(sorted(contents())))
    content = copy.deepcopy(contents()[work])
    if draw(st.integers(0, 2)):
        sections = [key for key, value in content.items() if isinstance(value, dict)]
        section = draw(st.sampled_from([None, *sections]))
        if section is None:
            content = draw(st.one_of(damaged_state(content), damaged_state(content), STRANGE))
        else:
            content[section] = draw(damaged_state(content[section]))
            if section == "progress" and content[section]:
                key = draw(st.sampled_from(sorted(content[section])))
                content[section][key] = draw(STRANGE)
    file = StateFile(*WORK)
    file.save({} if work == "sums" else content)
    files = {str(file.path): file.path.read_bytes()}
    damaged = file.path
    if work == "sums":
        damaged = file.folder / "shard-00000.pt"
        write_archive(damaged, content if isinstance(content, dict) else {"sums": content})
    files[str(damaged)] = draw(damaged_bytes(damaged.read_bytes(), rarely=True))
    file.delete()
    FOLDER.rmdir()
    return Case("checkpoints", "state", [work], files)
