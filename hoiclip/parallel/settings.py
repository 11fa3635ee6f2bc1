"""Settings as a part of what work is known by."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hoiclip.util.ranges import Config

EXECUTION_SETTINGS = frozenset({"workers", "threads", "checkpoint_encoder"})
"""Settings on which no result depends, but for its last bits on `threads`."""


def settings(config: Config) -> dict[str, Any]:
    """A configuration dataclass as a part of a key: without what says how it is worked."""
    return _without(asdict(config), EXECUTION_SETTINGS)


def _without(values: dict[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    return {
        name: _without(value, left_out) if isinstance(value, dict) else value
        for name, value in values.items()
        if name not in left_out
    }
