"""Kills the pipeline at random moments, and holds its result against that of a quiet run.

    python tests/kills/kill_runs.py --method gen_vlkt --processes 2

Every run works in a clone of its own of the last commit, with the smoke profile and a DVC cache of
its own, so that nothing is restored that this clone did not compute. Within a run `dvc repro` is
started and killed, with every process below it, until it once ends by itself; then metrics, hashes
in lock files and leftovers are held against a run of as many processes that nothing disturbed: the
number of processes may change the bits of a training. Exits with 1 if anything differs, a run
fails, or the kills asked for did not fit into the time.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import count
from pathlib import Path

import yaml
from kill_clone import SECONDS_BETWEEN_LOOKS, Clone, Reference, Repro, call, run_undisturbed

ROOT = Path(__file__).resolve().parents[2]
METHODS = sorted(path.parent.name for path in ROOT.glob("methods/*/dvc.yaml"))
ANYWHERE, IN_TRAINING = "random", "in training"
# So that no run takes most of the kills: one that is about to end is killed soon, again and again.
MOST_KILLS_OF_A_RUN = 8


class Campaign:
    """Runs, several at a time, until the kills asked for are done.

    Args:
        base: what is cloned for every run.
        reference: what every run has to give.
        kills: how many of each kind.
        seconds: after which no run and no kill begins.
        seed: of the moments.
        beyond: moments are drawn over this times what a clone still has to do; above 1, so that
            runs also end before their kills are used up.
        repro: what every run runs.
        say: takes the lines of the log.
    """

    def __init__(
        self, base: Path, reference: Reference, kills: dict[str, int], seconds: float, seed: int,
        beyond: float, repro: Repro, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._base, self._reference, self._repro, self._say = base, reference, repro, say
        self._wanted, self._seed, self._beyond = kills, seed, beyond
        self._deadline = time.monotonic() + seconds
        self._numbers, self._lock = count(1), threading.Lock()
        self.kills: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        self.runs = self.wrong_runs = self.checkouts = 0
        self.problems: list[str] = []

    def work(self) -> None:
        """Makes one run after the other; several threads may do so at once."""
        while any(map(self._due, self._wanted)):
            with self._lock:
                number = next(self._numbers)
            clone = Clone(self._base, self._base.parent / f"run{number}", self._repro)
            try:
                problems = self._run(number, clone)
            finally:
                clone.delete()
            with self._lock:
                self.runs += 1
                self.wrong_runs += bool(problems)
                self.problems += [f"run {number}: {problem}" for problem in problems]
                told = "; ".join(problems) or "the same metrics, hashes and files"
                self._say(f"run {number:3}  ended: {told}")

    def _due(self, kind: str) -> bool:
        return self.kills[kind] < self._wanted[kind] and time.monotonic() < self._deadline

    def _run(self, number: int, clone: Clone) -> list[str]:
        """Starts and kills the pipeline until it ends by itself; gives what is then wrong."""
        draw = random.Random(f"{self._seed} {number}")
        # The first kill is anywhere, the second in training, all others are anywhere again.
        for attempt in count(1):
            turn = attempt == 2 or not self._due(ANYWHERE)
            possible = self._due(IN_TRAINING) and self._to_do(clone, self._repro.train)
            aim = IN_TRAINING if turn and possible else ANYWHERE
            spared = attempt > MOST_KILLS_OF_A_RUN
            if clone.start():
                self.checkouts += 1
                self._say(f"run {number:3}  half a dvc.lock, checked out")
            started = time.monotonic()
            # Where it is to be in training, the moment is known once an epoch was saved.
            moment = math.inf
            if aim == ANYWHERE and not spared:
                moment = draw.uniform(0, self._beyond * self._to_do(clone))
            while not clone.ended():
                time.sleep(SECONDS_BETWEEN_LOOKS)
                seconds = time.monotonic() - started
                wanted = aim == IN_TRAINING and not spared
                if wanted and moment == math.inf and clone.trains_on():
                    moment = seconds + draw.uniform(0, self._reference.after_first_epoch)
                if seconds >= moment:
                    if self._kill(number, clone, aim, seconds):
                        break
                    aim, moment = ANYWHERE, math.inf
            else:
                break
        failure = clone.failure()
        return [failure] if failure else clone.differences(self._reference)

    def _to_do(self, clone: Clone, *stages: str) -> float:
        """Seconds that the stages, or all, would take in the clone, as far as they are not done."""
        done = clone.done(self._reference.outs)
        left = {k: s for k, s in self._reference.seconds.items() if k not in done}
        return sum(s for stage, s in left.items() if not stages or stage in stages)

    def _kill(self, number: int, clone: Clone, aim: str, seconds: float) -> bool:
        """Kills if a kill of its kind is still due and the run did not end just now."""
        with self._lock:
            # A training that ended before its moment came is a place like any other.
            kind = IN_TRAINING if aim == IN_TRAINING and clone.trains_on() else ANYWHERE
            if not self._due(kind) or not clone.kill():
                return False
            self.kills[kind] += 1
            place = clone.place()
            self.places[place] += 1
            number_of_all = self.kills.total()
            self._say(f"run {number:3}  kill {number_of_all:3}, {kind}: {seconds:5.1f} s, {place}")
        return True


def three_epochs(method: str) -> tuple[str, ...]:
    """Settings of a short training, in which the learning rate still drops."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    section = f"{method}.train" if "train" in params[method] else "train"
    return f"{section}.epochs=3", f"{section}.lr_drop_epoch=2"


def make_base(folder: Path, settings: Sequence[str]) -> Path:
    """A clone of the last commit in which the smoke profile and the settings are committed."""
    base = folder / "base"
    call(folder, "git", "clone", "--quiet", str(ROOT), str(base))
    options = [option for setting in settings for option in ("--set", setting)]
    call(base, sys.executable, "-m", "pipelines.profile", "smoke", *options)
    who = ("-c", "user.name=kills", "-c", "user.email=kills@localhost")
    call(base, "git", *who, "commit", "--quiet", "--all", "--message", "Settings")
    return base


def machine() -> str:
    """What the runs ran on."""
    names = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    programs = ", ".join(f"{name} {version(name)}" for name in ("torch", "dvc"))
    processor = f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"
    return f"{processor}, Python {platform.python_version()}, {programs}"


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(number)
    return number


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Kills the pipeline at random moments.")
    parser.add_argument("--method", choices=METHODS, default=Repro.method, help="(%(default)s)")
    parser.add_argument(
        "--processes", type=_at_least_one, default=1, metavar="N",
        help="of a training and of a pass over images, as HOICLIP_PROCESSES (default 1)",
    )  # fmt: skip
    parser.add_argument("--kills", type=int, default=100, help="anywhere (default 100)")
    parser.add_argument(
        "--training-kills", type=int, default=20, help="in training after an epoch (default 20)"
    )
    parser.add_argument("--limit-minutes", type=float, default=90, help="(default 90)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument(
        "--beyond", type=float, default=1.5, help="draw moments over so much of the rest (1.5)"
    )
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="instead of 3 epochs")
    parser.add_argument("--target", help="a stage; by default the whole pipeline")
    parser.add_argument("--log", type=Path, help="file to write beside the output")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Does the kills asked for; returns 1 if anything was wrong."""
    options = parse(arguments)
    repro = Repro(options.method, options.processes, options.target)
    settings = (f"method={repro.method}", *(options.set or three_epochs(repro.method)))
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as temporary:
        base = make_base(Path(temporary), settings)
        commit = call(ROOT, "git", "rev-parse", "--short", "HEAD").strip()
        say(f"commit {commit}; {machine()}; {options.jobs} runs at a time, seed {options.seed}")
        say(f"{repro.target or 'all stages'} of {repro.method}, processes: {repro.processes}")
        quiet = Clone(base, Path(temporary, "reference"), repro)
        try:
            reference = run_undisturbed(quiet)
        finally:
            quiet.delete()
        told = ", ".join(f"{stage} {s:.1f} s" for stage, s in reference.seconds.items())
        say(f"undisturbed: {told}")
        wanted = {ANYWHERE: options.kills, IN_TRAINING: options.training_kills}
        limit = 60 * options.limit_minutes - (time.monotonic() - started)
        campaign = Campaign(
            base, reference, wanted, limit, options.seed, options.beyond, repro, say
        )
        with ThreadPoolExecutor(options.jobs) as pool:
            for work in [pool.submit(campaign.work) for _ in range(options.jobs)]:
                work.result()
    say(f"killed at: {', '.join(f'{place} {n}' for place, n in sorted(campaign.places.items()))}")
    kills = ", ".join(f"{campaign.kills[kind]} of {n} {kind}" for kind, n in wanted.items())
    say(
        f"kills: {kills}; runs: {campaign.runs}, of which {campaign.wrong_runs} with another "
        f"result; git checkout dvc.lock needed: {campaign.checkouts}; "
        f"{(time.monotonic() - started) / 60:.0f} minutes"
    )
    for problem in campaign.problems:
        say(f"wrong: {problem}")
    if options.log:
        options.log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(
        bool(campaign.problems) or any(campaign.kills[kind] < n for kind, n in wanted.items())
    )


if __name__ == "__main__":
    sys.exit(main())
