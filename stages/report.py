"""One self-contained HTML page about the run."""

import subprocess
from dataclasses import replace
from pathlib import Path

import hoiclip.ancestry  # noqa: F401 (ends the stage when dvc ends)
from hoiclip.core.config import chosen_method, load
from hoiclip.core.files import sha256_files
from hoiclip.report.inputs import ReportInputs
from hoiclip.report.page import build_report
from hoiclip.report.published import ReportConfig
from hoiclip.stage_main import run_stage

# What makes the result; the files that the pipeline itself writes do not count as changes.
SOURCES = (
    "hoiclip", "stages", "params.yaml", "dvc.yaml", ":(glob)methods/*/dvc.yaml", "weights",
    "results",
)  # fmt: skip


def git_source() -> dict:
    """The last commit that changed sources, and whether they differ from it; empty without git.

    Not HEAD: a commit of the results would change the page, which is one of them.
    """
    try:
        changed = _git("status", "--porcelain", "--", *SOURCES)
        commit = _git("log", "-1", "--format=%H", "--", *SOURCES)
        return {"commit": commit or None, "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return {}


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main(params: Path) -> None:
    """Builds the page from the files of the run and from committed results."""
    config = load(ReportConfig, "report", params)
    inputs = replace(ReportInputs.of_project(".", chosen_method(params)), params=params)
    tables = sorted(Path("data/annotations").glob("*/*.parquet"))
    source = {**git_source(), "data_hash": sha256_files(tables)}
    build_report(inputs, Path("report/index.html"), source, config.published)


if __name__ == "__main__":
    run_stage("report", main)
