from __future__ import annotations

from pathlib import Path

import pytest

from hoiclip.experiments import collect
from hoiclip.experiments.collect import (
    HONESTY,
    ExperimentError,
    gather_ablation,
    gather_honesty,
    gather_seeds,
    plan_of,
    run_plan,
)
from hoiclip.experiments.plan import ablation_plan, experiment, honesty_plan, seeds_plan
from hoiclip.util.files import read_json, write_json

EXPERIMENTS = [experiment("base", "full", seed, 4, 3) for seed in range(4)]


def result(full: float, **more) -> dict:
    return {
        "row": "base", "length": "full", "seed": 0, "steps": 9, "seconds": 8.0, "cpu_seconds": 7.0,
        "k": 5, "machine": "one", "overrides": {}, "validation_full": 1.0,
        "metrics": {"default": {"full": full}}, "metrics_free": {"default": {"full": full + 1}},
    } | more  # fmt: skip


class Processes:
    """Stands for the processes of a plan: each ends at its second look, those of `fails` badly."""

    def __init__(self, fails: set[str]) -> None:
        self.fails = fails
        self.commands: list[list[str]] = []
        self.running = self.most = 0

    def start(self, command, stdout, stderr, env):
        assert env["OMP_NUM_THREADS"] == "1"
        self.commands.append(command)
        self.running += 1
        self.most = max(self.most, self.running)
        return Process(self, command)

    @property
    def names(self) -> list[str]:
        return [command[3] for command in self.commands]


class Process:
    def __init__(self, processes: Processes, command: list[str]) -> None:
        self.processes, self.command, self.looks = processes, command, 0
        self.returncode = None

    def poll(self):
        self.looks += 1
        if self.looks == 2:
            name, runs = self.command[3], Path(self.command[-1])
            self.returncode = int(name in self.processes.fails)
            self.processes.running -= 1
            if not self.returncode:
                write_json(runs / f"{name}.json", result(50.0))
        return self.returncode


@pytest.fixture
def start(monkeypatch):
    def start(fails=()):
        processes = Processes(set(fails))
        monkeypatch.setattr(collect.subprocess, "Popen", processes.start)
        monkeypatch.setattr(collect.time, "sleep", lambda seconds: None)
        return processes

    return start


class TestRuns:
    def test_each_once_and_no_more_than_asked_side_by_side(self, start, tmp_path):
        processes = start()
        run_plan(EXPERIMENTS, tmp_path, Path("some.yaml"), jobs=2)
        assert processes.names == [e.name for e in EXPERIMENTS]
        assert processes.most == 2
        assert processes.commands[0][1:3] == ["-m", "hoiclip.experiments"]
        assert processes.commands[0][4:6] == ["--params", "some.yaml"]
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
            f"{e.name}.json" for e in EXPERIMENTS
        )

    def test_what_has_a_result_is_kept(self, start, tmp_path):
        write_json(tmp_path / f"{EXPERIMENTS[1].name}.json", {"kept": 1})
        processes = start()
        run_plan(EXPERIMENTS, tmp_path, Path("params.yaml"), jobs=3)
        assert EXPERIMENTS[1].name not in processes.names
        assert len(processes.names) == 3
        assert read_json(tmp_path / f"{EXPERIMENTS[1].name}.json") == {"kept": 1}

    def test_after_a_failure_those_at_work_finish_and_no_more_start(self, start, tmp_path):
        processes = start(fails=[EXPERIMENTS[0].name])
        with pytest.raises(ExperimentError, match=EXPERIMENTS[0].name):
            run_plan(EXPERIMENTS, tmp_path, Path("params.yaml"), jobs=2)
        assert processes.names == [e.name for e in EXPERIMENTS[:2]]
        assert (tmp_path / f"{EXPERIMENTS[0].name}.log").exists()
        assert (tmp_path / f"{EXPERIMENTS[1].name}.json").exists()


class TestGathering:
    @pytest.fixture
    def keep(self, tmp_path, monkeypatch):
        """Writes a result for each experiment, `full` counting up from 0; returns the folder."""
        monkeypatch.setattr(collect, "read_provenance", lambda path: {"source": {"kind": "toy"}})

        def keep(experiments):
            for full, e in enumerate(experiments):
                value = result(float(full), row=e.row, length=e.length, seed=e.seed)
                write_json(tmp_path / f"{e.name}.json", value)
            return tmp_path

        return keep

    def test_ablation_in_the_papers_order_with_the_enhancement_last(self, keep, tmp_path):
        experiments = ablation_plan(16, 12)
        gather_ablation(experiments, keep(experiments), tmp_path / "out.json")
        found = read_json(tmp_path / "out.json")
        assert found["dataset"] == {"kind": "toy"}
        quarter = [row["row"] for row in found["rows"] if row["length"] == "quarter"]
        rows = ("base", "clip", "integration", "verb", "free")
        assert quarter == [row for row in rows for _ in range(3)]
        full = [(r["row"], r["seed"]) for r in found["rows"] if r["length"] == "full"]
        assert full == [(row, seed) for row in ("base", "verb", "free") for seed in range(3)]
        # The plan begins with the default's seeds, so that its metrics are 0, 1, 2.
        verb, free = (
            [r["metrics"]["default"]["full"] for r in found["rows"] if
             (r["row"], r["length"]) == (row, "full")] for row in ("verb", "free")
        )  # fmt: skip
        assert verb == [0, 1, 2]
        assert free == [1, 2, 3]

    def test_seeds_have_the_enhancement(self, keep, tmp_path):
        experiments = seeds_plan(16, 12)
        gather_seeds(experiments, keep(experiments), tmp_path / "out.json")
        runs = read_json(tmp_path / "out.json")["runs"]
        assert [r["metrics"]["default"]["full"] for r in runs] == [1, 2, 3]
        assert {"seed", "steps", "seconds", "cpu_seconds", "k", "machine"} < runs[0].keys()

    def test_honesty_puts_crops_first_and_gives_the_default_its_enhancement(self, keep, tmp_path):
        experiments = honesty_plan(16, 12)
        crops = {"metrics": {"default": {"full": 40.0}}, "cpu_seconds": 3.0}
        gather_honesty(experiments, crops, keep(experiments), tmp_path / "out.json")
        rows = read_json(tmp_path / "out.json")["rows"]
        assert [row["metrics"]["default"]["full"] for row in rows] == [40, 0, 2, 2]
        assert [row["seconds"] for row in rows] == [3, 7, 7, 7]
        assert [row["name"] for row in rows[1:]] == [name for name, _ in HONESTY.values()]


def test_lengths_are_those_of_params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("train: {epochs: 8, lr_drop_epoch: 6}\n")
    (first, *_) = plan_of("seeds", path)
    assert first.overrides["train.epochs"] == 8
    assert first.overrides["train.lr_drop_epoch"] == 6
