"""Floating-point operations: what a work has, and what a device can do in a second.

Counted are matrix products, attentions and convolutions by `torch.utils.flop_counter`, a
multiplication and an addition as two. The peak is not the vendor's: it is the best of some products
of two large square matrices on the same device, with the same threads and the same type.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

_SIDES = {"cpu": 2048, "cuda": 8192}
_TRIES = 10


def count_flops(work: Callable[[], Any]) -> int:
    """Operations of one run of `work`, forward and backward passes of all networks in it."""
    fast = torch.backends.mha.get_fastpath_enabled()
    # A fused attention is one operation that the counter does not know.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter:
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops()


def matmul_peak(device: str, precision: str, threads: int, side: int | None = None) -> float:
    """Operations per second of the best of some products of square matrices.

    Args:
        device: `cpu` or `cuda`.
        precision: `float32`, which never is TF32 here, or `bf16`.
        threads: of PyTorch on the CPU.
        side: of the matrices; None takes 2048 on the CPU and 8192 on CUDA.
    """
    torch.set_num_threads(threads)
    side = side or _SIDES[device]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(_TRIES + 1):  # The first one is not the best.
        start = time.perf_counter()
        a @ b
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    del a, b
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    return 2 * side**3 / best


def synchronize(device: str) -> None:
    """Waits until the device has done what it was told."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
