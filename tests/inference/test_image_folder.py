"""`hoiclip predict`, from the command line to the files."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from hoiclip.cli import main
from hoiclip.core import schema
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.images.store import ImageStore
from hoiclip.inference import image_batches, image_folder
from hoiclip.inference.image_files import read_image_file
from hoiclip.inference.predict import as_stated, predict
from hoiclip.methods.hoiclip.model.config import Scoring

CASES = Path(__file__).resolve().parents[3] / "shared/cases"
RELEASED_SCORING = {"kind": "sigmoid", "k": 4, "weight": 2.0}
RELEASED = {
    "top_k": 30,
    "nms": {
        "threshold": 0.3, "human_power": 1.0, "object_power": 0.5, "plus_one_extents": True,
    },
    "inclusive_boxes": True,
}  # fmt: skip
# What holds where neither the command line nor the file says otherwise.
DOCUMENTED_SCORING = {"kind": "cosine", "k": 10, "weight": 1.0}
DOCUMENTED = {
    "top_k": 100,
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
    released = at_scale(make_detector(scoring=Scoring(**RELEASED_SCORING)), 24)
    dataclasses.replace(released, scores=RELEASED).save(folder / "released.safetensors")
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
    (["--scoring", "k=0"], {"k": 0}),
    (["--scoring", "kind=cosine"], {"kind": "cosine"}),
    (["--scoring", "kind=sigmoid", "--scoring", "k=3"], {"kind": "sigmoid", "k": 3}),
    (["--scoring", "weight=0.25"], {"weight": 0.25}),
    (["--top-k", "7"], {"top_k": 7}),
    (["--nms-threshold", "0"], {"nms": {"threshold": 0.0}}),
    (["--no-nms-plus-one-extents"], {"nms": {"plus_one_extents": False}}),
    (
        ["--nms-plus-one-extents", "--nms-human-power", "2", "--nms-object-power", "3"],
        {"nms": {"plus_one_extents": True, "human_power": 2.0, "object_power": 3.0}},
    ),
]


@pytest.mark.parametrize(("options", "asked"), FLAGS, ids=lambda value: " ".join(map(str, value)))
@pytest.mark.parametrize(
    ("weights", "stated", "scoring"),
    [("ours", DOCUMENTED, DOCUMENTED_SCORING), ("released", RELEASED, RELEASED_SCORING)],
)
def test_flags_go_before_the_file_and_the_file_before_the_documented(
    files, tmp_path, make_detector, predict_config, options, asked, weights, stated, scoring
):
    code, provenance = run(files, tmp_path, weights, "--no-pictures", *options)
    assert code == 0
    scoring = {key: asked.get(key, value) for key, value in scoring.items()}
    expected = {key: asked.get(key, value) for key, value in stated.items()}
    expected["nms"] = {**stated["nms"], **asked.get("nms", {})}
    assert provenance["method"] == "hoiclip"
    assert provenance["scores"] == expected
    assert provenance["scoring"] == scoring
    images = pa.Table.from_pylist(
        [
            {"image_id": 0, "file_name": "0.png", "width": 40, "height": 30},
            {"image_id": 1, "file_name": "1.png", "width": 32, "height": 48},
        ],
        schema=schema.IMAGES,
    )
    (wanted,) = predict(
        at_scale(make_detector(), 24), images, ImageStore(files / "images"),
        as_stated(predict_config, expected), torch.device("cpu"), [Scoring(**scoring)],
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


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            [],
            "HOICLIP: --scoring k=10 --scoring weight=1.0 --scoring kind=cosine --least-score 1.0",
        ),
        (
            ["--scoring", "k=0", "--least-score", "0.5"],
            "HOICLIP: --scoring k=0 --scoring weight=1.0 --scoring kind=cosine --least-score 0.5",
        ),
    ],
)
def test_what_was_used_is_printed(files, tmp_path, capsys, options, line):
    code, _ = run(files, tmp_path, "ours", "--no-pictures", *options)
    assert code == 0
    assert capsys.readouterr().out.splitlines() == [line, str(tmp_path)]


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


def test_a_flag_without_its_value_is_one_line(capsys):
    with pytest.raises(SystemExit) as info:
        main(["predict", "images", "--weights=w", "--out=out", "--batch-size=--"])
    assert info.value.code == 2
    assert "--batch-size: expected a value, not --" in capsys.readouterr().err


def test_a_partition_has_one_folder_of_images(files, tmp_path, partition, capsys):
    folder = str(files / "images")
    arguments = ["--weights", "x", "--out", str(tmp_path / "out"), "--partition", str(partition)]
    assert main(["predict", folder, folder, *arguments]) == 1
    assert "--partition: give one IMAGE" in capsys.readouterr().err


@pytest.fixture(scope="module")
def toy_weights(tmp_path_factory, make_detector):
    """A model of the toy world as the default params train it: they state no scale."""
    path = tmp_path_factory.mktemp("toy") / "toy.safetensors"
    make_detector().save(path)
    return path


def predicted(weights, out, *arguments):
    """Exit code, rows of the table and images of the JSON, read back from the files."""
    options = ["--weights", str(weights), "--out", str(out), "--device", "cpu", "--threads", "1"]
    code = main(["predict", *map(str, arguments), *options])
    rows = schema.read_table(out / "predictions.parquet", schema.PREDICTIONS).to_pylist()
    return code, rows, json.loads((out / "predictions.json").read_bytes())["images"]


@pytest.fixture(scope="module")
def blobs():
    """Something smooth of 128 by 128 px, so that enlarging and reducing it changes little."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(noise).resize((128, 128), Image.Resampling.BICUBIC)


def test_images_as_large_as_those_of_training_are_predicted_as_the_pipeline_does(
    toy_weights, tmp_path, make_detector, predict_config, blobs
):
    blobs.save(tmp_path / "a.png")
    blobs.rotate(90).save(tmp_path / "b.png")
    code, rows, _ = predicted(toy_weights, tmp_path / "out", tmp_path / "a.png", tmp_path / "b.png")
    assert code == 0
    images = [
        {"image_id": index, "file_name": f"{name}.png", "width": 128, "height": 128}
        for index, name in enumerate("ab")
    ]
    detector = make_detector()
    assert detector.transforms.test_scale == 0
    (expected,) = predict(
        detector, pa.Table.from_pylist(images, schema=schema.IMAGES), ImageStore(tmp_path),
        as_stated(predict_config, DOCUMENTED), torch.device("cpu"), [Scoring(**DOCUMENTED_SCORING)],
    )  # fmt: skip
    assert rows == expected.to_pylist()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_large_photo_is_predicted_as_its_small_version_in_pixels_of_its_own(
    toy_weights, tmp_path, blobs, suffix
):
    blobs.save(tmp_path / "small.png")
    large = blobs.resize((2560, 2560), Image.Resampling.BICUBIC)
    large.save(tmp_path / f"large.{suffix}", quality=95)
    options = ["--no-pictures", "--nms-threshold", "0"]
    _, small, _ = predicted(toy_weights, tmp_path / "s", tmp_path / "small.png", *options)
    photo = tmp_path / f"large.{suffix}"
    _, large, (described,) = predicted(toy_weights, tmp_path / "l", photo, *options)
    assert (described["width"], described["height"]) == (2560, 2560)
    assert len(small) == len(large) > 50
    by_key = {(row["query"], row["hoi"]): row for row in small}
    shared = [row for row in large if (row["query"], row["hoi"]) in by_key]
    assert len(shared) > 0.9 * len(large)
    for row in shared:
        other = by_key[row["query"], row["hoi"]]
        assert abs(row["score"] - other["score"]) < 0.05
        for key in ("human_box_xyxy", "object_box_xyxy"):
            np.testing.assert_allclose(row[key], np.multiply(other[key], 20), atol=20)


def test_the_network_never_sees_more_than_the_scale(toy_weights, tmp_path, monkeypatch):
    seen = []
    collate = image_batches.collate
    monkeypatch.setattr(
        image_batches, "collate", lambda some: seen.append(some[0].image.shape) or collate(some)
    )
    Image.new("RGB", (4000, 3000), "gray").save(tmp_path / "a.jpg")
    predicted(toy_weights, tmp_path / "out", tmp_path / "a.jpg", "--no-pictures")
    assert seen == [(3, 128, 170)]


def test_what_cannot_be_read_takes_nothing_from_the_rest(toy_weights, tmp_path, capsys, blobs):
    """Neither the rows nor the batches of the others change."""
    good, mixed = tmp_path / "good", tmp_path / "mixed"
    for folder in (good, mixed):
        folder.mkdir()
        for name in "aceg":
            blobs.rotate(ord(name)).save(folder / f"{name}.png")
    (mixed / "b.png").write_bytes((mixed / "a.png").read_bytes()[:2000])
    Image.new("RGB", (100_000, 1)).save(mixed / "d.png")
    os.mkfifo(mixed / "f.png")
    (mixed / "h.heic").touch()
    options = ["--batch-size", "3"]
    code, rows, images = predicted(toy_weights, tmp_path / "o", good, *options)
    assert code == 0
    capsys.readouterr()
    code, same_rows, same_images = predicted(toy_weights, tmp_path / "m", mixed, *options)
    assert code == 3
    assert same_rows == rows
    assert [i["interactions"] for i in same_images] == [i["interactions"] for i in images]
    passed_over, *errors = capsys.readouterr().err.splitlines()
    assert passed_over == "1 file was passed over (.heic 1): h.heic"
    names = [line.removeprefix(f"error: {mixed}/").split(":")[0] for line in errors]
    assert names == ["b.png", "d.png", "f.png"]
    drawn = sorted(path.name for path in (tmp_path / "m/pictures").iterdir())
    assert drawn == ["00000-a.jpg", "00001-c.jpg", "00002-e.jpg", "00003-g.jpg"]


def test_where_nothing_can_be_read_the_results_are_empty(toy_weights, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"no image")
    code, rows, images = predicted(toy_weights, tmp_path / "out", tmp_path / "a.png")
    assert (code, rows, images) == (3, [], [])
    assert list((tmp_path / "out/pictures").iterdir()) == []
    assert capsys.readouterr().err.count("error: ") == 1


def test_an_image_that_changes_before_it_is_drawn_is_listed(
    toy_weights, tmp_path, monkeypatch, capsys, blobs
):
    for name in "ab":
        blobs.save(tmp_path / f"{name}.png")

    def late(path, limits, least):
        # Drawing needs more pixels than the network.
        if path.name == "a.png" and least((128, 128)) != (128, 128):
            path.write_bytes(b"no image")
        return read_image_file(path, limits, least)

    monkeypatch.setattr(image_folder, "read_image_file", late)
    code, _, images = predicted(toy_weights, tmp_path / "out", tmp_path)
    assert code == 3
    assert len(images) == 2
    assert "a.png: not an image" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out/pictures").iterdir()] == ["00001-b.jpg"]


def test_names_of_any_kind_are_written_validly(toy_weights, tmp_path, capfd, blobs):
    folder = os.fsencode(tmp_path) + b"/in"
    os.makedirs(folder + b"/deep")
    names = [
        b"caf\xe9.png",
        b"\x1b[31mred\n.png",
        b"a" * 242 + b".png",
        b"deep/same.png",
        b"same.png",
    ]
    for name in names:
        blobs.save(os.fsdecode(folder + b"/" + name))
    with open(folder + b"/\x1b]0;bad\xff.png", "wb"):
        pass
    code, _, images = predicted(toy_weights, tmp_path / "out", tmp_path / "in")
    assert code == 3
    assert len(list((tmp_path / "out/pictures").iterdir())) == len(images) == 5
    found = {image["file_name"].removeprefix(f"{tmp_path}/in/") for image in images}
    assert found == {
        "caf\\xe9.png",
        "\x1b[31mred\n.png",
        "a" * 242 + ".png",
        "deep/same.png",
        "same.png",
    }
    (tmp_path / "out/predictions.json").read_text(encoding="utf-8").encode()
    said = capfd.readouterr()
    assert "\\x1b]0;bad\\udcff.png" in said.err
    assert "\x1b" not in said.err + said.out


@pytest.mark.parametrize("flag", ["--max-megapixels", "--max-megabytes"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_limits_have_a_range(toy_weights, tmp_path, capsys, flag, value):
    out = tmp_path / "out"
    arguments = ["predict", str(tmp_path), "--weights", str(toy_weights), "--out", str(out)]
    with pytest.raises(SystemExit) as info:
        main([*arguments, flag, value])
    assert info.value.code == 2
    assert f"{flag}: '{value}', expected above 0" in capsys.readouterr().err
    assert not out.exists()


def test_limits_hold_and_can_be_raised(toy_weights, tmp_path, capsys):
    Image.effect_noise((500, 400), 50).save(tmp_path / "a.png")
    cases = [(["--max-megapixels", "0.19"], 3), (["--max-megabytes", "0.1"], 3), ([], 0)]
    for number, (options, expected) in enumerate(cases):
        code, _, images = predicted(
            toy_weights, tmp_path / f"out{number}", tmp_path / "a.png", *options
        )
        assert (code, len(images)) == (expected, expected == 0)
        if options:
            assert f"Raise {options[0]}" in capsys.readouterr().err


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared cases")
@pytest.mark.parametrize("case", ["images-16bit", "images-other-suffixes/folder"])
def test_reported_images(toy_weights, tmp_path, case):
    """Of 16 bits or floating-point, and with suffixes beside the usual ones."""
    code, _, images = predicted(toy_weights, tmp_path / "out", CASES / case)
    assert (code, len(images)) == (0, 4)
    scores = [[row["score"] for row in image["interactions"]][:5] for image in images]
    if case == "images-16bit":
        for found in scores:
            np.testing.assert_allclose(found, scores[-1], atol=0.01)
