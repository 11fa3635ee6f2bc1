"""Three kills on the smallest pipeline that trains; `make kills` does many on the smoke profile."""

from pathlib import Path

import kill_runs
import pytest

SMALLEST = (
    "dataset.toy.train_images=24",
    "dataset.toy.test_images=12",
    "dataset.workers=1",
    "train.epochs=2",
    "train.batch_size=4",
    "train.lr_drop_epoch=1",
)


@pytest.mark.skipif(not (kill_runs.ROOT / ".git").exists(), reason="clones the last commit")
def test_three_kills_change_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    kills = ["--kills", "2", "--training-kills", "1", "--beyond", "1", "--jobs", "1"]
    settings = [option for setting in SMALLEST for option in ("--set", setting)]
    code = kill_runs.main([*kills, "--target", kill_runs.TRAIN, "--log", str(log), *settings])
    said = log.read_text()
    assert code == 0, said
    assert "kills: 2 of 2 random, 1 of 1 in training" in said
    assert "the same metrics, hashes and files" in said
