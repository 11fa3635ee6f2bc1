"""Device, threads and seeds of a process; the one place that sets them."""

from __future__ import annotations

import os

import numpy as np
import torch
import torch.utils.deterministic

from hoiclip.errors import ParamsError


def prepare(
    device: str, threads: int, seed: int | None = None, local_rank: int | None = None
) -> torch.device:
    """Sets threads, seeds and, on CUDA, deterministic algorithms; returns the device to compute on.

    Matrices of float32 are multiplied in float32: TF32, which rounds them to 10 bits, stays off.

    Args:
        device: see `hoiclip.util.ranges.Device`; `auto` is CUDA where there is some, else the CPU,
            `cuda:1` the second one.
        threads: CPU threads of PyTorch; sums depend on it in their last bits.
        seed: of PyTorch's and NumPy's global generators; None leaves them.
        local_rank: number of this process among several on this machine, which take a CUDA device
            each; None or 0 for one alone.

    Raises:
        ParamsError: no such device, or too few of them.
    """
    torch.set_num_threads(threads)
    chosen = torch.device(_chosen(device, local_rank or 0))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # Where an operation has no deterministic kernel a warning says so, and last bits may vary.
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Or a kernel for each new tensor would fill what is written anyway. The setting is a
        # property of a class that PyTorch makes the module, which its types do not say.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
    if seed is not None:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
    return chosen


def kind_of(device: torch.device) -> str:
    """What the last bits depend on: the GPU's name, or the processor's vectors, as `AVX2`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return torch.backends.cpu.get_cpu_capability()


def _chosen(device: str, local_rank: int) -> str:
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not found):
        return "cpu"
    if not found:
        raise ParamsError(
            f"device: {device!r}, but PyTorch sees no CUDA device. Set it to cpu or auto"
        )
    number = int(device.partition(":")[2] or 0) + local_rank
    if number >= found:
        raise ParamsError(f"device: {device!r} needs cuda:{number}, but there are {found} of them")
    return f"cuda:{number}"
