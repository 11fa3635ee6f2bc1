"""What training reads off its images for the model file."""

import dataclasses

import pyarrow as pa
import pytest

from hoiclip.contract.model_file import LARGEST_SCALE
from hoiclip.core import schema
from hoiclip.set_prediction.files import TrainData


def with_sizes(data, sizes):
    """The data with train images of other sizes (width, height), and no pair."""
    images = [
        {"image_id": index, "file_name": f"{index}.jpg", "width": width, "height": height}
        for index, (width, height) in enumerate(sizes)
    ]
    train = dataclasses.replace(
        data.train, images=pa.Table.from_pylist(images, schema=schema.IMAGES)
    )
    return dataclasses.replace(data, train=train)


@pytest.mark.parametrize(
    ("sizes", "median"),
    [
        ([(640, 480), (300, 500), (700, 427)], 427),
        ([(640, 480), (300, 501)], 390),
        ([(20_000, 30_000)], LARGEST_SCALE),
        ([], None),
    ],
)
def test_the_median_of_the_shorter_sides(toy, sizes, median):
    assert with_sizes(TrainData.read(toy.paths), sizes).median_shorter_side(LARGEST_SCALE) == median
