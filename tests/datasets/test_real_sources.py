"""The published annotation files through the whole stage, with pictures of one colour."""

import json
import os
from pathlib import Path

import pytest
import raw_data
from PIL import Image

from hoiclip.core import schema
from hoiclip.data.annotations import Annotations
from hoiclip.datasets.prepare import prepare
from hoiclip.images.store import ImageStore

SHARED = Path(__file__).parents[3] / "shared/data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared"),
]


def write_grey(folder, names, sizes, stock):
    """An image of its size under each name; those of equal size are one file on disk."""
    folder.mkdir(parents=True)
    stock.mkdir(exist_ok=True)
    for name, (width, height) in zip(names, sizes, strict=True):
        grey = stock / f"{width}x{height}.jpg"
        if not grey.exists():
            Image.new("L", (width, height), 128).save(grey, "JPEG", quality=30)
        os.link(grey, folder / name)


def kinds(data):
    findings = schema.read_table(data / "findings.parquet", schema.FINDINGS)
    counts = findings.group_by(["partition", "kind"]).aggregate([("row", "count")]).to_pylist()
    return {(row["partition"], row["kind"]): row["row_count"] for row in counts}


def test_hico_det_as_published(tmp_path):
    raw, data = tmp_path / "raw", tmp_path / "data"
    raw.mkdir()
    source = SHARED / "hico_det/instances_test2015.json"
    document = json.loads(source.read_text())
    (raw / "instances_test2015.json").symlink_to(source)
    images = raw / "hico_20160224_det/images"
    write_grey(images / "test2015", document["filenames"], document["size"], tmp_path / "stock")
    for key in ("filenames", "size", "annotation"):
        document[key] = document[key][:50]
    (raw / "instances_train2015.json").write_text(json.dumps(document))
    write_grey(images / "train2015", document["filenames"], document["size"], tmp_path / "stock")

    config = raw_data.config(
        raw, source="hico_det", hico_det={"annotations": "instances"}, workers=2
    )
    summary = prepare(config, data)
    published = {row["what"]: row["equal"] for row in summary["published"]}
    assert published["test images"]
    assert published["test pairs"]
    assert published["HOI classes"]
    assert not published["train images"]
    assert summary["counts"]["test images without pairs"] == 112
    tables = Annotations.read(data / "annotations/test")
    store = ImageStore(data / "images/test")
    assert sorted(store._members) == sorted(tables.images["file_name"].to_pylist())
    assert len(list((data / "images/test").iterdir())) == 10
    assert not [kind for _, kind in kinds(data) if kind.startswith("image_")]


def test_v_coco_as_published(tmp_path):
    raw, data = tmp_path / "raw", tmp_path / "data"
    raw.mkdir()
    for part, folder in (("trainval", "train2014"), ("test", "val2014")):
        name = f"instances_vcoco_{part}.json"
        (raw / name).symlink_to(SHARED / "vcoco" / name)
        rows = json.loads((raw / name).read_text())["annotations"]
        names = [row["file_name"] for row in rows]
        write_grey(raw / "images" / folder, names, [(640, 640)] * len(names), tmp_path / "stock")
    values = {"source": "vcoco", "vcoco": {"annotations": "instances"}, "workers": 2}
    summary = prepare(raw_data.config(raw, drop_unknown=True, **values), data)
    assert all(row["equal"] for row in summary["published"])
    # Listed are 12,402; 23 are of (action, object) pairs outside the vocabulary.
    assert summary["counts"]["train pairs"] == 13817
    assert summary["counts"]["test pairs"] == 12379
    assert summary["findings"]["test"]["hoi_outside_vocabulary"] == 23
    told = schema.read_provenance(data / "annotations/test/interactions.parquet")
    assert told["missing_roles"] is False
