"""Workspaces: throw-away clones in which a run may change params.yaml.

`python -m pipelines.workspace CACHE` makes the clone in the current folder one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from pipelines.errors import PipelineError, fail
from pipelines.told import error_line, without_secrets

# Set in the clone's own git configuration, so that it cannot travel to another checkout.
_MARK = "hoiclip.workspace"
# Where stages keep the state of interrupted work.
_CHECKPOINTS = ".checkpoints"


def _output(command: Sequence[str], cwd: str | Path) -> str:
    # Without it git would wait for somebody to type a password.
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        errors="replace", check=False,
    )  # fmt: skip
    if done.returncode != 0:
        cause = error_line((done.stderr or done.stdout).splitlines())
        raise PipelineError(without_secrets(f"`{' '.join(command)}` in {cwd}: {cause}"))
    return done.stdout.strip()


def git_output(root: str | Path, *arguments: str) -> str:
    """What a git command in a repository prints, without the last line break.

    Raises:
        PipelineError: it fails.
    """
    return _output(["git", *arguments], root)


def dvc(*arguments: str) -> list[str]:
    """The command that runs DVC by this interpreter."""
    return [sys.executable, "-m", "dvc", *arguments]


def environment(root: str | Path) -> dict[str, str]:
    """Environment in which a stage uses this interpreter and the sources under `root`.

    An installed (editable) copy of the project points at another checkout, so `root` goes first.
    A folder that `HOICLIP_STAGE_PATH` names stands before the interpreter's: its `python` may start
    a stage in another way, on several nodes say, by the interpreter that `HOICLIP_PYTHON` is.
    """
    before: dict[str, list[str | None]] = {
        "PATH": [os.environ.get("HOICLIP_STAGE_PATH"), str(Path(sys.executable).parent)],
        "PYTHONPATH": [str(Path(root).resolve())],
    }
    joined = {
        name: os.pathsep.join(filter(None, [*first, os.environ.get(name)]))
        for name, first in before.items()
    }
    return {
        **os.environ,
        **joined,
        **_processes(),
        "HOICLIP_PYTHON": sys.executable,
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
    }


def _processes() -> dict[str, str]:
    """A process of a training for each GPU that a pod has, unless the environment says how many.

    The job template can only write the number into a text: a bare number is no value of a variable.
    """
    gpus = os.environ.get("HOICLIP_GPUS", "").partition(" ")[0]
    if os.environ.get("HOICLIP_PROCESSES") or not gpus.isdigit():
        return {}
    return {"HOICLIP_PROCESSES": str(max(int(gpus), 1))}


def make_workspace(
    root: str | Path, cache: str | Path, checkpoints: str | Path | None = None
) -> None:
    """Lets a fresh clone share a DVC cache and interrupted work, and be changed by a run.

    Args:
        root: the clone.
        cache: the DVC cache's folder; relative to `root` if not absolute.
        checkpoints: folder of the states of interrupted work, likewise; by default `checkpoints` in
            the cache, whose own folders have other names.

    Raises:
        PipelineError: `root` is no git and DVC project, or a folder cannot be made or linked.
    """
    cache = Path(root, cache)
    _output(dvc("cache", "dir", "--local", str(Path(".dvc", "cache"))), root)
    # By a link, because DVC writes no path with other letters than ASCII's into its configuration.
    _share(Path(root, ".dvc", "cache"), cache, "the DVC cache")
    # Without it a run that was cut short would begin anew: the next one has another clone.
    states = Path(root, checkpoints) if checkpoints else cache / "checkpoints"
    _share(Path(root, _CHECKPOINTS), states, "interrupted work")
    # A project's own .gitignore may name the folder, and this is a link.
    exclude = git_path(root, "info/exclude")
    try:
        exclude.parent.mkdir(exist_ok=True)
        with exclude.open("a", encoding="utf-8") as file:
            file.write(f"\n/{_CHECKPOINTS}\n")
    except OSError as error:
        raise PipelineError(f"{exclude}: {error.strerror}") from None
    # Links, because copies of a data set's shards in every run's clone would fill the disk.
    _output(dvc("config", "--local", "cache.type", "hardlink,symlink,copy"), root)
    _output(dvc("config", "--local", "cache.shared", "group"), root)
    _output(["git", "config", "--local", _MARK, "true"], root)


def _share(link: Path, folder: Path, what: str) -> None:
    folder = folder.resolve()
    try:
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            # As DVC makes the folders in its cache: for all of the group.
            folder.chmod(0o2775)
        if folder != link.resolve():
            link.symlink_to(folder)
    except OSError as error:
        raise PipelineError(f"{link} -> {folder}, {what}: {error.strerror}") from None


def is_workspace(root: str | Path) -> bool:
    """Whether `make_workspace` was called on this clone."""
    command = ["git", "config", "--local", "--type=bool", "--get", _MARK]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() == "true"


@contextmanager
def cloned(source: str | Path, keep: str | Path | None = None) -> Iterator[Path]:
    """Yields a workspace: a clone of `source`'s last commit that shares its DVC cache.

    Args:
        source: a git and DVC project.
        keep: where the clone is to be and stay; by default it is temporary.

    Raises:
        PipelineError: `source` is no git and DVC project, or `keep` is a folder with files.
    """
    cache = cache_folder(source)
    with TemporaryDirectory(prefix="reproduce-", ignore_cleanup_errors=True) as temporary:
        folder = Path(keep or Path(temporary, "workspace")).resolve()
        _output(["git", "clone", "--quiet", str(Path(source).resolve()), str(folder)], source)
        make_workspace(folder, cache)
        yield folder


def cache_folder(root: str | Path) -> Path:
    """The folder of a project's DVC cache.

    Raises:
        PipelineError: `root` is no DVC project.
    """
    return Path(root, _output(dvc("cache", "dir"), root)).resolve()


def ensure_identity(root: str | Path) -> None:
    """Gives a workspace a git author if the machine has none; DVC cannot save without one."""
    for key, value in {"user.name": "hoiclip run", "user.email": "run@localhost"}.items():
        known = subprocess.run(["git", "config", key], cwd=root, capture_output=True, check=False)
        if known.returncode != 0:
            _output(["git", "config", "--local", key, value], root)


def check_publishing(root: str | Path) -> None:
    """Tries whether experiments may be pushed from `root` to its `origin`; leaves nothing there.

    Raises:
        PipelineError: there is no origin, it cannot be reached, or it does not let this user write.
    """
    try:
        head = _output(["git", "rev-parse", "HEAD"], root)
        # Where DVC keeps experiments: a server may allow some names of references only.
        reference = f"refs/exps/{head[:2]}/{head[2:]}/probe-{uuid4().hex}"
        for source in ("HEAD", ""):
            _output(["git", "push", "--quiet", "origin", f"{source}:{reference}"], root)
    except PipelineError as error:
        raise PipelineError(f"publish: the origin takes no experiments: {error}") from None


def git_path(root: str | Path, name: str) -> Path:
    """A file of git's own, as `index.lock`, of the repository or work tree that holds `root`."""
    return Path(root, _output(["git", "rev-parse", "--git-path", name], root)).resolve()


def git_top(root: str | Path) -> Path:
    """The top folder of the git work tree that holds `root`."""
    return Path(_output(["git", "rev-parse", "--show-toplevel"], root)).resolve()


def has_uncommitted_changes(root: str | Path) -> bool:
    """Whether tracked files differ from the last commit."""
    return bool(_output(["git", "status", "--porcelain", "--untracked-files=no"], root))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command in the current folder; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.workspace", description=__doc__)
    parser.add_argument("cache", help="folder of the shared DVC cache")
    parser.add_argument(
        "--checkpoints", metavar="FOLDER",
        help="shared folder of interrupted work (default: checkpoints in the cache)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        make_workspace(Path.cwd(), options.cache, options.checkpoints)
    except (PipelineError, OSError) as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
