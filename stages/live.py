"""Figures of a training, live through DVCLive."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from dvclive import Live


@contextmanager
def live_log(folder: Path) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """Yields what is called after each epoch with its number and figures by name."""
    with ExitStack() as stack:
        # Opening it clears earlier figures, so not before every input was read and checked, and
        # with them the state of an interrupted training, which another process may be at.
        @cache
        def live() -> Live:
            log = Live(str(folder), dvcyaml=None, report=None, save_dvc_exp=False)
            return stack.enter_context(log)

        def log(epoch: int, figures: dict[str, float]) -> None:
            for name, value in figures.items():
                live().log_metric(name, value)
            live().step = epoch
            live().make_summary()

        yield log
