"""What the harness meets."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        kind: one of `inputs.KINDS`.
        door: `hoiclip` (the command line), or what else of `doors.DOORS`.
        arguments: of the door.
        files: contents by name.
    """

    kind: str
    door: str
    arguments: list[str]
    files: dict[str, bytes] = field(default_factory=dict)
