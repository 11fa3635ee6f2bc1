"""What docs/data.md and the committed profiles say, tried."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import raw_data
import yaml

from hoiclip.core import schema
from hoiclip.core.config import load
from hoiclip.data.annotations import Annotations
from hoiclip.datasets import image_checks
from hoiclip.datasets.config import DatasetConfig
from hoiclip.datasets.prepare import plan, prepare
from pipelines.profile import apply_profile

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "source"), [("hico", "hico_det"), ("vcoco", "vcoco"), ("own", "own")]
)
def test_profiles_name_files_that_come_or_are_placed(tmp_path, name, source):
    (tmp_path / "params").symlink_to(ROOT / "params")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    apply_profile(tmp_path, name)
    config = load(DatasetConfig, "dataset", tmp_path / "params.yaml")
    assert (config.source, config.raw) == (source, f"raw/{source}")
    section = yaml.safe_load((tmp_path / "params.yaml").read_text())["dataset"]
    for entry in section["downloads"]:
        assert set(entry) == {"path", "form", "url", "sha256", "unpack", "note"}
        assert entry["url"] or "http" in entry["note"], "where a person finds it"
    folder = section | {"raw": str(tmp_path / "empty")}
    lines = plan(raw_data.from_mapping(DatasetConfig, folder, "dataset"))
    told = [line for line in lines if "will be fetched" in line or "has to be placed" in line]
    assert told
    assert all("need not be" in line for line in lines if line not in told)


def test_the_documented_files_of_ones_own_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(
        image_checks, "ProcessPoolExecutor", lambda n, mp_context: ThreadPoolExecutor(n)
    )
    blocks = re.findall(r"```(?:json)?\n(.*?)```", (ROOT / "docs/data.md").read_text(), re.S)
    (vocabulary,) = (block for block in blocks if '"hois"' in block)
    (table,) = (block for block in blocks if block.startswith("file_name,"))
    raw = tmp_path / "raw"
    raw_data.write_pictures(raw / "images", ["a.jpg", "b.jpg", "c.jpg", "d.jpg"], (640, 480))
    (raw / "vocabulary.json").write_text(vocabulary)
    (raw / "train.csv").write_text(table)
    (raw / "test.csv").write_text(table.replace("a.jpg", "c.jpg").replace("b.jpg", "d.jpg"))
    summary = prepare(raw_data.config(raw, source="own"), tmp_path / "data")
    assert summary["counts"]["train pairs"] == 3
    assert summary["counts"]["train images without pairs"] == 1
    assert schema.read_table(tmp_path / "data/findings.parquet").num_rows == 0
    tables = Annotations.read(tmp_path / "data/annotations/train")
    assert tables.instances.num_rows == 4
    assert tables.interactions["object_instance"].null_count == 1
