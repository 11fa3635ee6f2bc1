import numpy as np
import pyarrow as pa

from hoiclip.core import schema
from hoiclip.core.vocabulary import Hoi, Verb, Vocabulary
from hoiclip.data.annotations import Annotations
from hoiclip.datasets.summary import compare, count, count_findings, summary_lines

VOCABULARY = Vocabulary(
    ("person", "cup"), (Verb("hold", "holding"), Verb("see", "seeing")), (Hoi(0, 1), Hoi(1, 1))
)


def partition(pairs_of_first, pairs_of_second, images):
    """Tables whose counts alone are right."""
    hoi = [0] * pairs_of_first + [1] * pairs_of_second
    zeros = np.zeros(len(hoi), np.int64)
    return Annotations(
        pa.table(
            {"image_id": range(images), "file_name": ["a"] * images, "width": [1] * images,
             "height": [1] * images}
        ).cast(schema.IMAGES),
        schema.INSTANCES.empty_table(),
        pa.table(
            {"image_id": zeros, "human": zeros, "object_instance": zeros, "verb": hoi, "hoi": hoi}
        ).cast(schema.INTERACTIONS),
    )  # fmt: skip


def test_classes_with_fewer_than_ten_training_pairs_are_rare():
    counts = count(VOCABULARY, {"train": partition(10, 9, 3), "test": partition(0, 0, 0)})
    assert counts == {
        "train images": 3, "train images without pairs": 2, "train instances": 0,
        "train pairs": 19, "test images": 0, "test images without pairs": 0, "test instances": 0,
        "test pairs": 0, "HOI classes": 2, "rare HOI classes": 1, "other HOI classes": 1,
    }  # fmt: skip


def test_published_counts_are_those_of_the_source():
    counts = {"train images": 5400, "test images": 4945}
    assert compare("vcoco", counts) == [
        {"what": "train images", "found": 5400, "published": 5400, "equal": True},
        {"what": "test images", "found": 4945, "published": 4946, "equal": False},
    ]
    assert compare("own", counts) == compare("toy", counts) == []


def test_the_table_says_it_in_words():
    summary = {
        "counts": {"train images": 5400, "test images": 4945},
        "published": compare("vcoco", {"train images": 5400, "test images": 4945}),
        "findings": {"train": {}, "test": {"box_clipped": 1200}},
    }
    assert summary_lines(summary) == [
        "train images      5,400  equals the published count",
        "test images       4,945  differs: 4,945, published 4,946",
        "test box_clipped  1,200  finding",
    ]


def test_findings_are_counted_by_partition_and_kind():
    rows = [("train", "b"), ("test", "b"), ("train", "a"), ("train", "b")]
    findings = pa.Table.from_pylist(
        [
            {"partition": p, "file": "f", "row": 0, "kind": k, "kept": True, "value": "1"}
            for p, k in rows
        ],
        schema.FINDINGS,
    )
    assert count_findings(findings, ("train", "test")) == {
        "train": {"a": 1, "b": 2},
        "test": {"b": 1},
    }
    empty = schema.FINDINGS.empty_table()
    assert count_findings(empty, ("train", "test")) == {"train": {}, "test": {}}
