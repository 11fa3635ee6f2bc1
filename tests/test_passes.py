"""A pass gives the same, whoever makes its shards and however often it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hoiclip import passes
from hoiclip.errors import InputError
from hoiclip.parallel.world import World
from hoiclip.passes import ShardedPass, joined_tables, shards_of, table_content
from hoiclip.resume.archive import write_archive
from hoiclip.resume.state_file import ACCEPT_CODE

ROOT = Path(__file__).parents[1]
CODE = {"hoiclip/a.py": "1"}
ALONE = World()


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(passes, "SHARD", 4)


def squares(rows: range) -> dict:
    return {"squares": torch.tensor([row**2 for row in rows]), "first": rows.start}


def make(folder: Path, world: World = ALONE, key: int = 0, code=CODE) -> ShardedPass:
    return ShardedPass(folder, {"key": key}, code, world)


def values(found: list[dict]) -> list[int]:
    return torch.cat([each["squares"] for each in found]).tolist()


@given(st.integers(0, 30))
def test_shards_are_all_images_in_order(count):
    shards = shards_of(count)
    assert [row for rows in shards for row in rows] == list(range(count))
    assert all(len(rows) == 4 for rows in shards[:-1])
    assert all(shards)


@pytest.mark.parametrize("count", [0, 1, 4, 10])
def test_a_pass_gives_its_shards_in_order_and_leaves_nothing(tmp_path, count):
    made = make(tmp_path)
    found = made.run(count, squares, list)
    assert [each["first"] for each in found] == list(range(0, count, 4))
    if count:
        assert values(found) == [row**2 for row in range(count)]
    made.delete()
    assert list(tmp_path.iterdir()) == []


def test_a_pass_that_was_killed_goes_on_with_what_it_lacks(tmp_path, capfd):
    asked = []

    def killed(rows: range) -> dict:
        asked.append(rows.start)
        if rows.start == 8:
            raise KeyboardInterrupt
        return squares(rows)

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path).run(15, killed, list)
    assert asked == [0, 4, 8]
    asked.clear()

    def noted(rows: range) -> dict:
        asked.append(rows.start)
        return squares(rows)

    assert values(make(tmp_path).run(15, noted, list)) == [row**2 for row in range(15)]
    assert asked == [8, 12]
    assert "going on after 2 shards" in capfd.readouterr().err


def test_another_pass_and_other_code_take_nothing_of_it(tmp_path, capfd):
    make(tmp_path).run(8, squares, list)
    asked = []

    def noted(rows: range) -> dict:
        asked.append(rows.start)
        return squares(rows)

    make(tmp_path, key=1).run(8, noted, list)
    assert asked == [0, 4]
    make(tmp_path, code={"hoiclip/a.py": "2"}).run(8, noted, list)
    assert asked == [0, 4, 0, 4]
    assert "the code has changed since: hoiclip/a.py" in capfd.readouterr().err


def test_shards_of_code_that_was_accepted_are_never_taken_for_others(tmp_path, monkeypatch):
    """Three sittings: by one code, by another that was told to go on, and by one of the two."""
    other = {"hoiclip/a.py": "2"}

    def sitting(code, mark, stop=None):
        made = make(tmp_path, code=code)

        def work(rows: range) -> dict:
            if rows.start == stop:
                raise KeyboardInterrupt
            return {"by": mark}

        return made, made.run(12, work, lambda shards: [shard["by"] for shard in shards])

    def two_killed() -> None:
        with pytest.raises(KeyboardInterrupt):
            sitting(CODE, "first", stop=4)
        with monkeypatch.context() as patched:
            patched.setenv(ACCEPT_CODE, "1")
            with pytest.raises(KeyboardInterrupt):
                sitting(other, "second", stop=8)

    two_killed()
    made, found = sitting(CODE, "first")
    assert (found, made.accepted) == (["first"] * 3, [])
    made.delete()
    two_killed()
    made, found = sitting(other, "second")
    assert found == ["first", "second", "second"]
    assert made.accepted == ["hoiclip/a.py"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "other version"])
def test_a_damaged_shard_is_made_again(tmp_path, capfd, damage):
    made = make(tmp_path)
    made.run(8, squares, list)
    file = made.folder / "shard-00001.pt"
    data = bytearray(file.read_bytes())
    if damage == "flipped":
        data[-9] ^= 1
    elif damage == "cut":
        del data[-20:]
    else:
        data[: data.index(b"\n")] = b"hoiclip state 3"
    file.write_bytes(data)
    assert values(make(tmp_path).run(8, squares, list)) == [row**2 for row in range(8)]
    assert "shard-00001.pt" in capfd.readouterr().err


def test_the_main_process_waits_for_the_others_shards(tmp_path, monkeypatch):
    """Threads stand for processes here."""
    barrier = threading.Barrier(2)
    monkeypatch.setattr(World, "wait", lambda self: barrier.wait(20))
    found = []
    main, other = (make(tmp_path, World(rank, 2)) for rank in (0, 1))
    running = threading.Thread(target=lambda: found.append(main.run(14, squares, list)))
    running.start()
    made = []

    def slow(rows: range) -> dict:
        time.sleep(0.3)
        made.append(rows.start)
        return squares(rows)

    assert other.run(14, slow, list) is None
    running.join(20)
    assert made == [4, 12]
    assert values(found[0]) == [row**2 for row in range(14)]


def test_shards_that_another_machine_keeps_to_itself_are_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(World, "wait", lambda self: None)
    with pytest.raises(InputError, match=r"shard-00001.pt: absent, .* one file system"):
        make(tmp_path, World(0, 2)).run(14, squares, list)


@pytest.mark.parametrize("processes", [1, 3])
def test_processes_of_torchrun_share_a_pass(tmp_path, processes):
    code = """
import sys, torch
from pathlib import Path
from hoiclip import passes
from hoiclip.parallel.world import World
passes.SHARD = 4
made = passes.ShardedPass(Path(sys.argv[1]), {"key": 0}, {}, World.of_environment().join())
found = made.run(18, lambda rows: {"squares": torch.tensor([row**2 for row in rows])}, list)
if found is not None:
    print(torch.cat([each["squares"] for each in found]).tolist())
    made.delete()
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", str(processes), str(script), str(tmp_path / "states"),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == str([row**2 for row in range(18)])


def test_tables_travel_in_shards(tmp_path):
    table = pa.table(
        {"a": [1, None, 3] * 3, "b": [[1.5, 2.0], None, []] * 3, "c": ["x", "ü", ""] * 3}
    )
    found = make(tmp_path).run(
        9,
        lambda rows: {"table": table_content(table.slice(rows.start, len(rows)))},
        joined_tables("table"),
    )
    assert found.equals(table)
    empty = table.slice(0, 0)
    assert joined_tables("t")([{"t": table_content(empty)}]).schema.equals(table.schema)


def test_shards_that_do_not_fit_are_refused_in_a_line(tmp_path):
    made = make(tmp_path)
    made.run(4, squares, list)
    write_archive(made.folder / "shard-00000.pt", {"squares": "text"})
    with pytest.raises(InputError, match=r"holds shards that do not fit .* Delete"):
        make(tmp_path).run(4, squares, values)
