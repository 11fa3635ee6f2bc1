"""What a method's stages said of their work: one file of its last stage, for every method alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoiclip.core.files import read_json, write_json
from hoiclip.errors import InputError

_FILE = "predict/method.json"
_FIX = "Run predict again"


@dataclass(frozen=True)
class MethodSummary:
    """A method and its stages.

    Attributes:
        name: as `method` in params.yaml says it.
        title: as a person reads it.
        stages: stage → its figures, in the order in which they ran.
    """

    name: str
    title: str
    stages: dict[str, dict[str, Any]]

    @classmethod
    def gather(
        cls, runs: str | Path, name: str, title: str, stages: Sequence[str], predict: dict[str, Any]
    ) -> MethodSummary:
        """Takes what stages left in `<runs>/<name>/<stage>/summary.json`, and at last `predict`.

        Raises:
            InputError: a summary is missing or no JSON object.
        """
        said = {stage: _object(Path(runs, name, stage, "summary.json")) for stage in stages}
        return cls(name, title, {**said, "predict": predict})

    @classmethod
    def read(cls, runs: str | Path, name: str) -> MethodSummary:
        """Reads the file of a method under `runs`.

        Raises:
            InputError: it is missing, malformed, or of another method.
        """
        path = method_file(runs, name)
        value = _object(path)
        for key, kind in (("name", str), ("title", str), ("stages", list)):
            if not isinstance(value.get(key), kind):
                raise InputError(path, f"missing, or no {kind.__name__}", key=key, fix=_FIX)
        if value["name"] != name:
            raise InputError(path, f"{value['name']!r}, expected {name!r}", key="name", fix=_FIX)
        stages = {}
        for number, entry in enumerate(value["stages"]):
            match entry:
                case {"stage": str(stage), "summary": dict(said)}:
                    stages[stage] = said
                case _:
                    problem = "expected an object with stage and summary"
                    raise InputError(path, problem, row=number, key="stages", fix=_FIX)
        return cls(value["name"], value["title"], stages)

    def write(self, runs: str | Path) -> None:
        """Writes the file that `read` reads."""
        # A list, because JSON objects are written by key.
        stages = [{"stage": stage, "summary": said} for stage, said in self.stages.items()]
        value = {"name": self.name, "title": self.title, "stages": stages}
        write_json(method_file(runs, self.name), value)


def method_file(runs: str | Path, name: str) -> Path:
    """Where the file of a method is under `runs`."""
    return Path(runs, name, _FILE)


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(path, f"a JSON {type(value).__name__}, expected an object")
    return value
