"""The formats that are read, by name. A new one is a module and a line here; docs/extending.md.

Modules are imported when a file is read, so that the command line knows the names without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Need:
    """What a file of a format does not hold, so that it has to be given.

    Attributes:
        options: fields of `SourceOptions`, any of which gives it.
        problem: what is wrong without it.
        fix: what to do about it.
        note: what is told where an evaluation goes on without it; None: nothing does.
    """

    options: tuple[str, ...]
    problem: str
    fix: str
    note: str | None = None


@dataclass(frozen=True)
class Format:
    """A format of annotations or predictions.

    Attributes:
        module: name of the module that reads it, with the functions below.
        needs: what its files do not hold.
    """

    module: str
    needs: tuple[Need, ...] = ()

    def detect(self, content: Any) -> bool:
        """Whether a file is of this format.

        Args:
            content: a `content.Content`.

        Raises:
            InputError: the file cannot be read.
        """
        return import_module(self.module).detect(content)

    def read(self, *arguments: Any) -> Any:
        """Reads a file; of annotations `(path, SourceOptions) -> Source`, of predictions
        `(path, PredictionOptions) -> Predictions`.

        Raises:
            InputError: malformed, or not to be read with these arguments.
        """
        return import_module(self.module).load(*arguments)


_VOCABULARY = Need(("vocabulary",), "its classes are unknown", "Give --vocabulary FILE.json")
_COCO = Need(
    ("coco",),
    "V-COCO's files hold no boxes",
    "Give COCO's annotations too: --coco instances_val2014.json",
)


def _sizes(options: tuple[str, ...], fix: str) -> Need:
    note = f"image sizes are unknown, so no box is cut to its image; {fix} tells them"
    return Need(options, "does not state the sizes of its images", f"Give {fix}", note)


_A, _P = "hoiclip.formats.annotations", "hoiclip.formats.predictions"

# Asked in this order whether a file is theirs.
ANNOTATION_FORMATS = {
    "partition": Format("hoiclip.formats.partition"),
    "own": Format(f"{_A}.own", (_VOCABULARY,)),
    "hico_mat": Format(f"{_A}.hico_mat"),
    "hico_instances": Format(f"{_A}.hico_instances"),
    "hoia": Format(f"{_A}.hoia", (_sizes(("images",), "--images FOLDER"),)),
    "vcoco": Format(f"{_A}.vcoco", (_COCO,)),
    "vcoco_instances": Format(
        f"{_A}.vcoco_instances",
        (_sizes(("images", "coco"), "--images FOLDER or --coco FILE"),),
    ),
}
PREDICTION_FORMATS = {
    "parquet": Format(f"{_P}.parquet"),
    "matlab": Format(f"{_P}.matlab"),
    "hoia": Format(f"{_P}.hoia"),
    "vcoco": Format(f"{_P}.vcoco_list"),
}
