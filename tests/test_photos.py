"""`hoiclip predict`, from the command line to the files."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from hoiclip import schema
from hoiclip.cli import main
from hoiclip.data.annotations import Annotations
from hoiclip.data.images import ImageStore
from hoiclip.prediction import as_stated, predict
from hoiclip.vocabulary import Vocabulary

RELEASED = {
    "enhancement_kind": "sigmoid", "enhancement_k": 4, "enhancement_weight": 2.0, "top_k": 30,
    "nms": {
        "threshold": 0.3, "human_power": 1.0, "object_power": 0.5, "plus_one_extents": True,
    },
    "inclusive_boxes": True,
}  # fmt: skip
# What holds where neither the command line nor the file says otherwise.
DOCUMENTED = {
    "enhancement_kind": "cosine", "enhancement_k": 10, "enhancement_weight": 1.0, "top_k": 100,
    "nms": {
        "threshold": 0.7, "human_power": 1.0, "object_power": 0.5, "plus_one_extents": False,
    },
    "inclusive_boxes": False,
}  # fmt: skip


def at_scale(detector, scale):
    """The detector with a scale that photographs and partitions are resized to."""
    return dataclasses.replace(
        detector, transforms=dataclasses.replace(detector.transforms, test_scale=scale)
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory, make_detector):
    """Two images and two model files, one that states its scores and one that does not."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for index, (width, height) in enumerate([(40, 30), (32, 48)]):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
    detector = at_scale(make_detector(), 24)
    detector.save(folder / "ours.safetensors")
    dataclasses.replace(detector, scores=RELEASED).save(folder / "released.safetensors")
    return folder


def run(files, out, weights, *options):
    """Exit code of the command, in a folder without params.yaml, and the table's provenance."""
    arguments = ["--weights", str(files / f"{weights}.safetensors"), "--out", str(out)]
    code = main(
        [
            "predict",
            str(files / "images"),
            *arguments,
            "--device",
            "cpu",
            "--threads",
            "1",
            *options,
        ]
    )
    return code, schema.read_provenance(out / "predictions.parquet")


FLAGS = [
    ([], {}),
    (["--enhancement-k", "0"], {"enhancement_k": 0}),
    (["--enhancement-kind", "cosine"], {"enhancement_kind": "cosine"}),
    (["--enhancement-kind", "sigmoid"], {"enhancement_kind": "sigmoid"}),
    (["--enhancement-weight", "0.25"], {"enhancement_weight": 0.25}),
    (["--top-k", "7"], {"top_k": 7}),
    (["--nms-threshold", "0"], {"nms": {"threshold": 0.0}}),
    (["--no-nms-plus-one-extents"], {"nms": {"plus_one_extents": False}}),
    (
        ["--nms-plus-one-extents", "--nms-human-power", "2", "--nms-object-power", "3"],
        {"nms": {"plus_one_extents": True, "human_power": 2.0, "object_power": 3.0}},
    ),
]


@pytest.mark.parametrize(("options", "asked"), FLAGS, ids=lambda value: " ".join(map(str, value)))
@pytest.mark.parametrize(("weights", "stated"), [("ours", DOCUMENTED), ("released", RELEASED)])
def test_flags_go_before_the_file_and_the_file_before_the_documented(
    files, tmp_path, make_detector, predict_config, options, asked, weights, stated
):
    code, provenance = run(files, tmp_path, weights, "--no-pictures", *options)
    assert code == 0
    expected = {**stated, **asked, "nms": {**stated["nms"], **asked.get("nms", {})}}
    assert provenance["scores"] == expected
    assert provenance["enhancement_k"] == expected["enhancement_k"]
    images = pa.Table.from_pylist(
        [
            {"image_id": 0, "file_name": "0.png", "width": 40, "height": 30},
            {"image_id": 1, "file_name": "1.png", "width": 32, "height": 48},
        ],
        schema=schema.IMAGES,
    )
    (wanted,) = predict(
        at_scale(make_detector(), 24), images, ImageStore(files / "images"),
        as_stated(predict_config, expected), [expected["enhancement_k"]], torch.device("cpu"),
    )  # fmt: skip
    assert schema.read_table(tmp_path / "predictions.parquet").equals(wanted)


def test_json_and_pictures_show_what_scores_enough(files, tmp_path):
    code, _ = run(files, tmp_path, "ours", "--least-score", "0.9")
    assert code == 0
    table = schema.read_table(tmp_path / "predictions.parquet").to_pylist()
    images = json.loads((tmp_path / "predictions.json").read_text())["images"]
    assert [image["width"] for image in images] == [40, 32]
    for image_id, image in enumerate(images):
        rows = [r for r in table if r["image_id"] == image_id and r["score"] >= 0.9]
        assert [r["score"] for r in image["interactions"]] == [r["score"] for r in rows]
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"00000-0.jpg", "00001-1.jpg"}


def test_an_unreadable_image_is_listed_and_the_others_are_predicted(files, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    out, weights = tmp_path / "out", files / "ours.safetensors"
    image = files / "images" / "1.png"
    code = main(
        ["predict", str(broken), str(image), "--weights", str(weights), "--out", str(out),
         "--device", "cpu", "--no-pictures"]
    )  # fmt: skip
    assert code == 3
    assert "broken.png" in capsys.readouterr().err
    assert set(schema.read_table(out / "predictions.parquet")["image_id"].to_pylist()) == {0}


@pytest.fixture
def partition(files, tmp_path):
    """A partition of the two images, in the other order and with ids of its own."""
    rows = [
        {"image_id": 31, "file_name": "1.png", "width": 32, "height": 48},
        {"image_id": 5, "file_name": "0.png", "width": 40, "height": 30},
    ]
    tables = (schema.IMAGES, schema.INSTANCES, schema.INTERACTIONS)
    contents = (rows, [], [])
    annotations = Annotations(
        *(pa.Table.from_pylist(c, schema=t) for c, t in zip(contents, tables, strict=True))
    )
    annotations.write(tmp_path / "test", {})
    return tmp_path / "test"


def test_a_partition_is_predicted_under_its_ids(files, tmp_path, partition):
    loose, scored = tmp_path / "loose", tmp_path / "scored"
    run(files, loose, "released", "--no-pictures")
    code, provenance = run(files, scored, "released", "--partition", str(partition))
    assert code == 0
    assert provenance["scores"] == RELEASED
    table = schema.read_table(scored / "predictions.parquet", schema.PREDICTIONS).to_pylist()
    plain = schema.read_table(loose / "predictions.parquet").to_pylist()
    renamed = [{**row, "image_id": [5, 31][row["image_id"]]} for row in plain]
    assert {row["image_id"] for row in table} == {5, 31}
    assert [r for r in table if r["image_id"] == 31] == [r for r in renamed if r["image_id"] == 31]
    assert [r for r in table if r["image_id"] == 5] == [r for r in renamed if r["image_id"] == 5]
    assert {path.name for path in scored.iterdir()} == {"predictions.parquet", "vocabulary.parquet"}


def test_the_models_vocabulary_stands_beside_its_predictions(
    files, tmp_path, partition, make_detector
):
    run(files, tmp_path / "out", "ours", "--partition", str(partition))
    assert Vocabulary.read(tmp_path / "out/vocabulary.parquet") == make_detector().vocabulary


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--partition", "nowhere"], "images.parquet: no such file"),
        (["--top-k", "0"], "the command line states scores.top_k: 0, expected at least 1"),
    ],
)
def test_wrong_options_are_one_line_and_write_nothing(files, tmp_path, capsys, options, message):
    weights = files / "ours.safetensors"
    arguments = ["--weights", str(weights), "--out", str(tmp_path / "out"), *options]
    assert main(["predict", str(files / "images"), *arguments]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_a_partition_has_one_folder_of_images(files, tmp_path, partition, capsys):
    folder = str(files / "images")
    arguments = ["--weights", "x", "--out", str(tmp_path / "out"), "--partition", str(partition)]
    assert main(["predict", folder, folder, *arguments]) == 1
    assert "--partition: give one IMAGE" in capsys.readouterr().err
