import hashlib
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import raw_data
from layouts import HICO, same_as_sets
from raw_data import picture, write_hico, write_own, write_vcoco
from vcoco_layouts import V_COCO

from hoiclip.core import schema
from hoiclip.core.vocabulary import Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.datasets import image_checks
from hoiclip.datasets.prepare import plan, prepare
from hoiclip.datasets.summary import summary_lines
from hoiclip.errors import InputError, ParamsError
from hoiclip.formats.annotations.findings import REPORT
from hoiclip.images.store import ImageStore

WRITERS = {
    **{f"hico_det {form}": (write_hico, form) for form in ("mat", "hoia", "instances")},
    **{f"vcoco {form}": (write_vcoco, form) for form in ("original", "instances")},
    **{f"own {kind}": (write_own, kind) for kind in ("csv", "json")},
}


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    def pool(workers, mp_context):
        return ThreadPoolExecutor(workers)

    image_checks._store.cache_clear()
    monkeypatch.setattr(image_checks, "ProcessPoolExecutor", pool)


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def findings(data):
    return schema.read_table(data / "findings.parquet", schema.FINDINGS).to_pylist()


def of_images(data):
    """Findings about images: (partition, row, kind, kept), with their values."""
    rows = [row for row in findings(data) if row["kind"].startswith("image_")]
    keys = [(row["partition"], row["row"], row["kind"], row["kept"]) for row in rows]
    return dict(zip(keys, (json.loads(row["value"]) for row in rows), strict=True))


def test_findings_have_the_columns_of_the_readers_report():
    assert schema.FINDINGS.remove(0) == REPORT


@pytest.mark.parametrize("name", WRITERS)
def test_every_source_and_form_is_written_whole(raw, data, name):
    source = name.split()[0]
    write, form = WRITERS[name]
    config = write(raw, form)
    summary = prepare(config, data)
    vocabulary = Vocabulary.read(data / "vocabulary.parquet")
    assert schema.read_provenance(data / "vocabulary.parquet") == {"source": source}
    assert vocabulary == {"hico_det": HICO, "vcoco": V_COCO}.get(source, vocabulary)
    for partition in ("train", "test"):
        folder = data / "annotations" / partition
        tables = Annotations.read(folder)
        tables.check(folder, vocabulary)
        assert summary["counts"][f"{partition} images"] == tables.images.num_rows > 1
        assert summary["counts"][f"{partition} pairs"] == tables.interactions.num_rows > 0
        assert summary["counts"][f"{partition} instances"] == tables.instances.num_rows
        store = ImageStore(data / "images" / partition)
        for row in tables.images.to_pylist():
            size = (row["width"], row["height"])
            assert store.read_bytes(row["file_name"]) == picture(row["file_name"], size)
        told = schema.read_provenance(folder / "interactions.parquet")
        assert (told["source"], told["form"], told["partition"]) == (source, form, partition)
        for file, found in told["files"].items():
            (path,) = (p for p in raw.rglob(file) if p.is_file())
            assert hashlib.sha256(path.read_bytes()).hexdigest() == found
        assert (folder / "unlabelled_people.parquet").exists() == (
            name == "vcoco original" and partition == "test"
        )
        assert told.get("missing_roles") == {"vcoco original": True, "vcoco instances": False}.get(
            name
        )
    assert not [row for row in findings(data) if row["kind"] != "published_count_differs"]


def test_files_among_your_own_images_that_nobody_names_are_findings(raw, data):
    config = write_own(raw)
    for name in ("site/c.heic", "d.jpg", "\x1b.txt"):
        (raw / "images" / name).write_bytes(b"")
    summary = prepare(config, data)
    rows = [row for row in findings(data) if row["kind"] == "image_not_listed"]
    assert [json.loads(row["value"])["file_name"] for row in rows] == [
        "\\x1b.txt",
        "d.jpg",
        "site/c.heic",
    ]
    assert {(row["file"], row["row"], row["kept"]) for row in rows} == {
        (str(raw / "images"), -1, False)
    }
    assert any(line.startswith("train image_not_listed") for line in summary_lines(summary))


def test_the_forms_of_hico_det_give_equal_rows_and_equal_shards(tmp_path):
    for form in ("mat", "hoia", "instances"):
        (tmp_path / form).mkdir()
        prepare(write_hico(tmp_path / form, form), tmp_path / form / "data")
    first, *others = (tmp_path / form / "data" for form in ("mat", "hoia", "instances"))
    for other in others:
        for partition in ("train", "test"):
            tables = [Annotations.read(d / f"annotations/{partition}") for d in (first, other)]
            assert same_as_sets(*tables)
            shard = f"images/{partition}/00000.tar"
            assert (first / shard).read_bytes() == (other / shard).read_bytes()


def test_people_without_labels(raw, data):
    prepare(write_vcoco(raw, "original"), data)
    path = data / "annotations/test/unlabelled_people.parquet"
    people = schema.read_table(path, schema.UNLABELLED).to_pylist()
    assert people == [{"image_id": 20, "box_xyxy": [40.0, 1.0, 49.0, 10.0]}]
    assert "instances_ahead" in schema.read_unlabelled(path).column_names


def test_another_label_changes_no_byte_of_the_table_of_images(raw, data):
    """So what reads images alone, as label-free distillation does, is as it was."""
    config, tables = write_own(raw), ("images", "interactions")
    before, after = (
        {name: data / f"{when}/annotations/train/{name}.parquet" for name in tables}
        for when in ("before", "after")
    )
    prepare(config, data / "before")
    text = (raw / "train.csv").read_text()
    (raw / "train.csv").write_text(text.replace("ladder,3,2.5,13,22.5,climb", "rope,3,2,13,9,pull"))
    prepare(config, data / "after")
    assert before["images"].read_bytes() == after["images"].read_bytes()
    assert before["interactions"].read_bytes() != after["interactions"].read_bytes()


def test_the_split_file_of_vcoco_says_which_images(raw, data):
    config = write_vcoco(raw, "original")
    (raw / "vcoco_test.ids").write_text("10\n")
    prepare(config, data)
    tables = Annotations.read(data / "annotations/test")
    assert tables.images["image_id"].to_pylist() == [10]
    told = schema.read_provenance(data / "annotations/test/interactions.parquet")
    assert "vcoco_test.ids" in told["files"]


def test_published_counts_that_differ_are_findings(raw, data):
    summary = prepare(write_hico(raw, "instances"), data)
    published = {row["what"]: row for row in summary["published"]}
    assert published["train images"] == {
        "what": "train images", "found": 3, "published": 38118, "equal": False,
    }  # fmt: skip
    assert published["HOI classes"]["equal"]
    lines = "\n".join(summary_lines(summary))
    assert "differs: 3, published 38,118" in lines
    assert "equals the published count" in lines
    rows = [row for row in findings(data) if row["kind"] == "published_count_differs"]
    assert {row["partition"] for row in rows} == {"train", "test"}
    assert len(rows) == sum(not row["equal"] for row in summary["published"])
    assert all(row["row"] == -1 and row["kept"] for row in rows)
    assert summary["findings"]["test"] == {"published_count_differs": 2}


def spoil(raw):
    """Breaks four of the six images of HICO-DET's small content."""
    folder = raw / "hico_20160224_det/images"
    (folder / "train2015/HICO_test2015_00000003.jpg").unlink()
    path = folder / "train2015/HICO_test2015_00000012.jpg"
    path.write_bytes(path.read_bytes()[:400])
    (folder / "test2015/HICO_test2015_00000003.jpg").write_bytes(b"no image")
    (folder / "test2015/HICO_test2015_00000009.jpg").write_bytes(picture("x", (64, 50)))


@pytest.mark.parametrize("form", ["mat", "hoia", "instances"])
def test_bad_images_are_one_error_and_nothing_is_written(raw, data, form):
    config = write_hico(raw, form)
    spoil(raw)
    with pytest.raises(InputError) as info:
        prepare(config, data)
    told = str(info.value)
    assert "2 of 3 images cannot be used: " in told
    assert "HICO_test2015_00000003.jpg' (row 0): " in told
    assert "is missing" in told
    assert "HICO_test2015_00000012.jpg' (row 2): " in told
    assert "dataset.bad_images" in told
    assert "\n" not in told
    assert not [path for path in data.rglob("*") if path.is_file()]


def test_many_bad_images_are_counted_and_the_first_are_told(raw, data):
    content = {number: [] for number in range(1, 31)}
    config = write_hico(raw, "instances", content)
    for path in (raw / "hico_20160224_det/images/train2015").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"30 of 30 images .* and 25 more") as info:
        prepare(config, data)
    assert str(info.value).count(".jpg'") == 5


@pytest.mark.parametrize("form", ["mat", "hoia", "instances"])
def test_bad_images_are_left_out_with_their_rows_and_told(raw, data, form):
    config = write_hico(raw, form)
    spoil(raw)
    config = raw_data.config(
        raw, source="hico_det", hico_det={"annotations": form}, bad_images="drop"
    )
    summary = prepare(config, data)
    for partition, kept in (("train", [9]), ("test", [12] if form != "hoia" else [9, 12])):
        tables = Annotations.read(data / "annotations" / partition)
        assert tables.images["image_id"].to_pylist() == kept
        assert set(tables.instances["image_id"].to_pylist()) <= set(kept)
        assert set(tables.interactions["image_id"].to_pylist()) <= set(kept)
        store = ImageStore(data / "images" / partition)
        assert sorted(store._members) == sorted(tables.images["file_name"].to_pylist())
    told = of_images(data)
    expected = {
        ("train", 0, "image_missing", False): (2, 1),
        ("train", 2, "image_unreadable", False): (3, 2),
        ("test", 0, "image_unreadable", False): (2, 1),
        ("test", 1, "image_size_differs", False): (0, 0),
    }
    if form == "hoia":
        # It states no sizes, so that no image contradicts it.
        del expected["test", 1, "image_size_differs", False]
    assert {
        key: (value["instances"], value["interactions"]) for key, value in told.items()
    } == expected
    assert summary["findings"]["train"]["image_missing"] == 1


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("form", ["mat", "hoia", "instances"])
def test_boxes_follow_images_that_exif_turns(raw, data, orientation, form):
    config = write_hico(raw, form)
    name = "HICO_test2015_00000003.jpg"
    turned = picture(name, (64, 48), orientation)
    (raw / "hico_20160224_det/images/test2015" / name).write_bytes(turned)
    prepare(config, data)
    tables = Annotations.read(data / "annotations/test")
    assert tables.images.to_pylist()[0] == {
        "image_id": 3, "file_name": name, "width": 48, "height": 64,
    }  # fmt: skip
    human = {
        5: [9, 9, 30, 20], 6: [18, 9, 39, 20], 7: [18, 44, 39, 55], 8: [9, 44, 30, 55],
    }[orientation]  # fmt: skip
    boxes = [row["box_xyxy"] for row in tables.instances.to_pylist() if row["image_id"] == 3]
    assert human in boxes
    assert ImageStore(data / "images/test").read_bytes(name) == turned
    (key,), (value,) = of_images(data).keys(), of_images(data).values()
    assert key == ("test", 0, "image_turned", True)
    assert value["orientation"] == orientation
    unturned = Annotations.read(data / "annotations/train")
    assert unturned.instances.slice(2).equals(tables.instances.slice(2))


def test_unlabelled_people_are_turned_and_left_out_with_their_image(raw, data):
    config = write_vcoco(raw, "original")
    name = "COCO_train2014_000000000020.jpg"
    (raw / "images/val2014" / name).write_bytes(picture(name, (64, 48), 6))
    prepare(config, data)
    path = data / "annotations/test/unlabelled_people.parquet"
    assert schema.read_table(path)["box_xyxy"].to_pylist() == [[38.0, 40.0, 47.0, 49.0]]
    (raw / "images/val2014" / name).unlink()
    dropping = raw_data.config(
        raw, source="vcoco", vcoco={"annotations": "original"}, bad_images="drop"
    )
    prepare(dropping, data)
    assert schema.read_table(path).num_rows == 0


def test_an_orientation_that_nobody_can_check_is_told(raw, data):
    config = write_own(raw)
    for folder in ("site", "other"):
        (raw / f"images/{folder}/a.jpg").write_bytes(picture("a", (100, 80), 3))
    prepare(config, data)
    assert set(of_images(data)) == {
        (p, 0, "image_orientation_ambiguous", True) for p in ("train", "test")
    }


def test_rows_of_a_csv_file_are_those_of_the_file(raw, data):
    config = write_own(raw)
    (raw / "images/site/b.jpg").unlink()
    with pytest.raises(InputError, match=r"b\.jpg' \(row 2\)"):
        prepare(config, data)


def test_an_image_in_both_partitions_is_refused(raw, data):
    config = write_own(raw)
    path = raw / "test.csv"
    path.write_text(path.read_text().replace("other/b.jpg", "site/b.jpg"))
    with pytest.raises(InputError, match=r"test\.csv, row 2, file_name: 'site/b\.jpg' is also"):
        prepare(config, data)
    assert not data.exists()


def test_what_is_missing_is_told_at_once(raw, data):
    config = write_own(raw)
    (raw / "test.csv").unlink()
    (raw / "vocabulary.json").unlink()
    with pytest.raises(InputError, match=r"missing: vocabulary\.json, test\.csv\. .*data\.md"):
        prepare(config, data)
    assert f"{raw}/test.csv: has to be placed by a person" in plan(config)
    assert f"{raw}/train.csv: is there" in plan(config)
    assert not data.exists()


def download(path, form=None, url=None, unpack=None):
    return {"path": path, "form": form, "url": url, "sha256": None, "note": "", "unpack": unpack}


def test_the_plan_tells_of_every_file_of_the_chosen_form(raw):
    listed = [
        download("hico_20160224_det.tar.gz", unpack="hico_20160224_det"),
        download("annotations/test_hico.json", "hoia"),
        download("instances_test2015.json", "instances", "https://example.org/test.json"),
    ]

    def told(form):
        values = {"source": "hico_det", "hico_det": {"annotations": form}, "downloads": listed}
        return [line.removeprefix(f"{raw}/") for line in plan(raw_data.config(raw, **values))]

    archive = "hico_20160224_det.tar.gz: has to be placed by a person"
    assert told("mat") == [archive]
    assert told("hoia") == [
        archive,
        "annotations/test_hico.json: has to be placed by a person",
        "annotations/trainval_hico.json: has to be placed by a person",
        "annotations/corre_hico.npy: is not there, and need not be",
    ]
    assert told("instances") == [
        archive,
        "instances_test2015.json: will be fetched from https://example.org/test.json",
        "instances_train2015.json: has to be placed by a person",
    ]
    (raw / "hico_20160224_det").mkdir()
    assert told("mat")[0] == "hico_20160224_det.tar.gz: is there as hico_20160224_det/"
    assert told("mat")[1] == "hico_20160224_det/anno_bbox.mat: has to be placed by a person"
    assert len(told("mat")) == 4
    assert [path.name for path in raw.iterdir()] == ["hico_20160224_det"]


def test_a_placed_archive_is_unpacked(raw, data):
    write_hico(raw, "mat")
    with zipfile.ZipFile(raw / "hico.zip", "w") as archive:
        for path in sorted((raw / "hico_20160224_det").rglob("*")):
            archive.write(path, path.relative_to(raw))
    (raw / "hico_20160224_det").rename(raw / "elsewhere")
    config = raw_data.config(
        raw, source="hico_det", downloads=[download("hico.zip", unpack="hico_20160224_det")]
    )
    assert plan(config) == [f"{raw}/hico.zip: is there, will be unpacked"]
    prepare(config, data)
    assert Annotations.read(data / "annotations/test").images.num_rows == 3


def test_the_toy_world_needs_no_file(raw):
    assert plan(raw_data.config(raw)) == ["toy: is rendered, no file is needed"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": "coco"}, "dataset.source: 'coco'"),
        ({"workers": 0}, "dataset.workers: 0, expected at least 1"),
        ({"bad_images": "keep"}, "dataset.bad_images: 'keep'"),
        ({"hico_det": {"annotations": "xml"}}, "dataset.hico_det.annotations: 'xml'"),
        ({"downloads": [download("../a")]}, r"dataset.downloads\[0\]: '../a' is not a path inside"),
        ({"downloads": [download("/a")]}, "'/a' is not a path inside"),
        ({"downloads": [download("a", unpack="..")]}, "'..' is not a path inside"),
        ({"downloads": [download("a", unpack=".")]}, "'.' is not a path inside"),
        ({"downloads": [{"path": "a"}]}, r"dataset.downloads\[0\].url: missing"),
        ({"train_images": 3}, "dataset.train_images: unknown key"),
    ],
)
def test_wrong_params_are_named(raw, values, message):
    with pytest.raises(ParamsError, match=message):
        raw_data.config(raw, **values)


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(raw, tmp_path, monkeypatch):
    monkeypatch.undo()
    write_own(raw)
    for workers in (1, 2):
        config = raw_data.config(raw, source="own", workers=workers)
        prepare(config, tmp_path / str(workers))
    one, two = (
        {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        for folder in (tmp_path / "1", tmp_path / "2")
    )
    assert one == two
