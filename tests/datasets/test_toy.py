from concurrent.futures import ThreadPoolExecutor as Threads

import numpy as np
import pytest

from hoiclip.core import schema
from hoiclip.data.annotations import Annotations
from hoiclip.datasets import toy as toy_data
from hoiclip.images.store import ImageStore
from hoiclip.toy.world import SIZE

IMAGES = 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("worlds")

    def write(name, seed):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(toy_data, "ProcessPoolExecutor", lambda workers, mp_context: Threads(1))
            toy_data.write_toy_partition(
                "train", seed=seed, num_images=IMAGES, annotations=root / name / "annotations",
                images=root / name / "images", workers=1,
            )  # fmt: skip
        return root / name

    return {
        "first": write("first", 3),
        "again": write("again", 3),
        "seed": write("seed", 4),
    }


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_equal_seeds_are_equal_bytes_and_others_are_not(folders):
    first, again, seed = (files(folders[name]) for name in ("first", "again", "seed"))
    assert first == again
    assert first.keys() == seed.keys()
    assert first["images/00000.tar"] != seed["images/00000.tar"]


def test_partitions_hold_different_scenes(toy):
    train = ImageStore(toy.folder / "images/train")
    test = ImageStore(toy.folder / "images/test")
    pictures = [
        store.read_bytes(name)
        for store, part in ((train, toy.train), (test, toy.test))
        for name in part.images["file_name"].to_pylist()
    ]
    assert len(set(pictures)) == len(pictures)
    boxes = [schema.fixed_lists_to_numpy(p.instances["box_xyxy"]) for p in (toy.train, toy.test)]
    assert not (boxes[0][:, None] == boxes[1]).all(2).any()


def test_every_class_is_in_the_test_partition(toy):
    counts = np.bincount(toy.test.interactions["hoi"].to_numpy(), minlength=toy.vocabulary.num_hois)
    assert counts.min() >= 1


def test_tables_are_those_on_disk_and_pass_the_check(toy):
    for name, part in (("train", toy.train), ("test", toy.test)):
        folder = toy.folder / "annotations" / name
        part.check(folder, toy_data.toy_vocabulary())
        read = Annotations.read(folder)
        assert read.interactions.equals(part.interactions)
        assert schema.read_provenance(folder / "images.parquet")["partition"] == name


def test_images_are_as_large_as_the_tables_say(toy):
    store = ImageStore(toy.folder / "images/train")
    for row in toy.train.images.to_pylist():
        assert store.read(row["file_name"]).size == (row["width"], row["height"]) == (SIZE, SIZE)


def test_only_entities_of_annotated_pairs_have_boxes(toy):
    used = {
        (row["image_id"], row[key])
        for row in toy.train.interactions.to_pylist()
        for key in ("human", "object_instance")
    }
    listed = {(row["image_id"], row["instance"]) for row in toy.train.instances.to_pylist()}
    assert used == listed
