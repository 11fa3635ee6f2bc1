"""What a process sets for its device."""

from __future__ import annotations

import os

import torch
import torch.utils.deterministic

from hoiclip.parallel.device import prepare


def test_memory_on_cuda_is_not_filled_before_it_is_written(monkeypatch):
    """No device is needed to see what is set for one."""
    said = []
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", said.append)
    monkeypatch.setattr(
        torch, "use_deterministic_algorithms", lambda *given, **named: said.append((given, named))
    )
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    device = prepare("cuda", torch.get_num_threads(), local_rank=1)
    assert said == [device, ((True,), {"warn_only": True})]
    assert device == torch.device("cuda:1")
    assert not torch.utils.deterministic.fill_uninitialized_memory
