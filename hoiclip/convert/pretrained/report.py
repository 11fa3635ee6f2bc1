"""What a conversion did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hoiclip.printable import printable


@dataclass(frozen=True)
class Conversion:
    """What became of a foreign file.

    Attributes:
        path: the file written.
        kind: `official`, `gen_vlkt`, `detr`, `clip` or `verb`.
        setting: published setting of a released checkpoint.
        dropped: name of each tensor left out → why.
        fresh: part of the network that the file does not fill → why.
        provenance: what the file written says about its origin.
        notes: what else a person should know.
    """

    path: Path
    kind: str
    setting: str | None = None
    dropped: dict[str, str] = field(default_factory=dict)
    fresh: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Lines for people: the file, what it was, what was left out and what was assumed."""
        setting = "" if self.setting is None else f", setting {self.setting}"
        lines = [f"{self.path}: from {self.kind}{setting}"]
        for reason, count in sorted(Counter(self.dropped.values()).items()):
            lines.append(f"  {count} tensor{'s' * (count != 1)} left out: {reason}")
        for reason in dict.fromkeys(self.fresh.values()):
            parts = ", ".join(part.rstrip(".") for part, why in self.fresh.items() if why == reason)
            lines.append(f"  {parts} left fresh: {reason}")
        assumed = self.provenance.get("arguments", {}).get("assumed", {})
        if assumed:
            values = ", ".join(f"{name} {value}" for name, value in assumed.items())
            lines.append(f"  assumed, since the file does not say: {values}")
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(printable(line) for line in lines)
