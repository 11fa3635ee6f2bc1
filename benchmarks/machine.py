"""What a benchmark's figures are of: date, hardware, versions, and the load before the first."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """Date, processor, cores, memory in GB, CUDA devices, versions, load of 1, 5 and 15 minutes."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    processor = re.search(r"model name\s*: (.+)", text)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cuda = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor[1] if processor else "unknown",
        "vectors": "AVX-512" if "avx512f" in text else "AVX2" if "avx2" in text else "none known",
        "cores": os.cpu_count(),
        "memory GB": round(pages / 1e9, 1),
        "cuda": cuda,
        "load": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
