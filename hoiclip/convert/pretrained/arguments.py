"""Settings that only a checkpoint's `args` tell, and what is assumed where they are silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hoiclip.checkpoints.pytorch import Checkpoint
from hoiclip.errors import WeightsError

DETR: Mapping[str, Any] = {"nheads": 8, "dropout": 0.1, "dilation": False}
"""DETR's own defaults; shapes tell neither heads nor dropout nor dilation."""


@dataclass(frozen=True)
class Arguments:
    """Settings by the names that they have in the released code.

    Attributes:
        values: every setting that was asked for.
        stated: names of those that the file's `args` state; the others are assumed.
    """

    values: Mapping[str, Any]
    stated: frozenset[str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def provenance(self) -> dict[str, dict[str, Any]]:
        """`stated` and `assumed` settings, for a file's header."""
        return {
            "stated": {k: v for k, v in self.values.items() if k in self.stated},
            "assumed": {k: v for k, v in self.values.items() if k not in self.stated},
        }


def read_arguments(checkpoint: Checkpoint, assumed: Mapping[str, Any]) -> Arguments:
    """What the checkpoint's `args` say of the settings in `assumed`, which holds where they do not.

    Raises:
        WeightsError: a value is of another type than the assumed one.
    """
    stated = {name: checkpoint.args[name] for name in assumed if name in checkpoint.args}
    for name, value in stated.items():
        expected = type(assumed[name])
        if type(value) is not expected and not (expected is float and type(value) is int):
            raise WeightsError(
                f"{checkpoint.path}: its args say {name} {value!r}, expected {expected.__name__}"
            )
    return Arguments({**assumed, **stated}, frozenset(stated))
