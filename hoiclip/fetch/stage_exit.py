"""How a stage that fetches ends where the network failed: by an exit code that says so."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hoiclip.errors import NetworkError
from hoiclip.stage_main import fail


def exits_by_network(
    main: Callable[[Path], dict[str, Any] | None],
) -> Callable[[Path], dict[str, Any] | None]:
    """The same `main` of a stage, which ends the process with `NetworkError.exit_code`.

    The line of the error is printed as any other's. Whoever calls the stage may then try again,
    where every other failure is for a person to mend.
    """

    @functools.wraps(main)
    def run(params: Path) -> dict[str, Any] | None:
        try:
            return main(params)
        except NetworkError as error:
            fail(error)
            sys.exit(error.exit_code)

    return run
