"""Device, threads and seeds of a process; the one place that sets them."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
import torch

from hoiclip.errors import ParamsError


def prepare(
    device: Literal["cpu", "cuda", "auto"], threads: int, seed: int | None = None
) -> torch.device:
    """Sets threads, seeds and, on CUDA, deterministic algorithms; returns the device to compute on.

    Args:
        device: `auto` is CUDA where there is some.
        threads: CPU threads of PyTorch; sums depend on it in their last bits.
        seed: of PyTorch's and NumPy's global generators; None leaves them.

    Raises:
        ParamsError: CUDA is asked for and absent.
    """
    torch.set_num_threads(threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise ParamsError("device: 'cuda', but PyTorch sees no CUDA device. Set it to cpu or auto")
    chosen = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if chosen == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    if seed is not None:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
    return torch.device(chosen)
