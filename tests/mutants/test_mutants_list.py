"""Mutants follow their files: each text is found once, and the tests named are there."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
MUTANTS = json.loads((ROOT / "tests/mutants/mutants.json").read_text(encoding="utf-8"))


def test_every_text_is_found_once_and_every_test_is_there():
    wrong = []
    for number, mutant in enumerate(MUTANTS, 1):
        path = ROOT / mutant["file"]
        count = path.read_text(encoding="utf-8").count(mutant["old"]) if path.exists() else 0
        files = [ROOT / test.partition("::")[0] for test in mutant["tests"]]
        if count != 1 or not all(file.exists() for file in files):
            wrong.append((number, mutant["file"], count))
    assert wrong == []
