"""What a method's stages said of their work: one file of its last stage, for every method alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hoiclip.errors import InputError
from hoiclip.files import read_json, write_json

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
        for key, kind in (("name", str), ("title", str), ("stages", dict)):
            if not isinstance(value.get(key), kind):
                raise InputError(path, f"missing, or no {kind.__name__}", key=key, fix=_FIX)
        if value["name"] != name:
            raise InputError(path, f"{value['name']!r}, expected {name!r}", key="name", fix=_FIX)
        for stage, said in value["stages"].items():
            if not isinstance(said, dict):
                raise InputError(path, "no JSON object", key=f"stages.{stage}", fix=_FIX)
        return cls(value["name"], value["title"], value["stages"])

    def write(self, runs: str | Path) -> None:
        """Writes the file that `read` reads."""
        write_json(method_file(runs, self.name), asdict(self))


def method_file(runs: str | Path, name: str) -> Path:
    """Where the file of a method is under `runs`."""
    return Path(runs, name, _FILE)


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(path, f"a JSON {type(value).__name__}, expected an object")
    return value
