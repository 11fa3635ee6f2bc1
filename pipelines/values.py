"""Values of params, tried by what reads them: the package, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pipelines.errors import PipelineError
from pipelines.workspace import environment


def check_values(root: str | Path, files: Mapping[str, Path]) -> None:
    """Refuses a value out of range, or of no meaning, before anything is queued for it.

    Args:
        root: a checkout, whose package is asked; one of other stages has none to ask.
        files: params files by what messages call them.

    Raises:
        PipelineError: a file is refused; the first one is named, with what its stage would say.
    """
    if not Path(root, "hoiclip").is_dir():
        return
    said = json.dumps({name: str(Path(path).absolute()) for name, path in files.items()})
    done = subprocess.run(
        [sys.executable, "-m", "hoiclip.experiments.params"],
        cwd=root, env=environment(root), input=said, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        line = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise PipelineError(f"{root}: params cannot be checked: {line}")
    for name, problem in json.loads(done.stdout).items():
        raise PipelineError(f"{name}: params.yaml: {problem}")
