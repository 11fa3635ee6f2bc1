"""What CLIP is shown in inference, of images that the detector sees at another size."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pyarrow as pa
import pytest
import torch
from distill_method_world import make_caches, make_config, make_method
from PIL import Image

from hoiclip.batches.loading import by_size
from hoiclip.batches.transforms import inference_view, resized_size
from hoiclip.contract.model_file import Detector
from hoiclip.images.store import ImageStore, Limits, decode
from hoiclip.inference.image_batches import ImageFiles
from hoiclip.inference.predict import predict
from hoiclip.methods.clip_distill.model.data import DistillData

# The first and the last are large enough to be decoded at a part of their size.
SIZES = [(64, 48), (40, 96), (31, 31), (900, 640)]
SCALE = 24


class SeenError(Exception):
    """Ends a prediction where its batch is known."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """JPEG files of noise, of which every resize changes every pixel."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for index, (width, height) in enumerate(SIZES):
        noise = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        noise.save(folder / f"{index}.jpg", quality=95)
    return folder


@pytest.fixture(scope="module")
def images() -> pa.Table:
    return pa.table(
        {
            "image_id": np.arange(len(SIZES)),
            "file_name": [f"{index}.jpg" for index in range(len(SIZES))],
            "width": np.array([width for width, _ in SIZES], np.int32),
            "height": np.array([height for _, height in SIZES], np.int32),
        }
    )


def at_scale(detector: Detector) -> Detector:
    transforms = dataclasses.replace(detector.transforms, test_scale=SCALE)
    return dataclasses.replace(detector, transforms=transforms)


@pytest.fixture
def distilled(make_detector, clip_config) -> Detector:
    return at_scale(dataclasses.replace(make_detector(), method=make_method(clip_config)))


@pytest.fixture
def set_prediction(make_detector) -> Detector:
    return at_scale(make_detector())


def of_partition(detector, images, folder, predict_config) -> torch.Tensor:
    """CLIP's pixels of all images, as the stage `predict` makes them."""

    def score_pairs(self, batch, settings, scorings):
        raise SeenError(batch)

    detector.method.score_pairs = types.MethodType(score_pairs, detector.method)
    with pytest.raises(SeenError) as seen:
        predict(detector, images, ImageStore(folder), predict_config, torch.device("cpu"))
    batch = seen.value.args[0]
    ids = by_size(images, detector.transforms)["image_id"].to_numpy()[batch.indices]
    return batch.clip_pixels[np.argsort(ids)]


def of_photos(detector, images, folder) -> torch.Tensor:
    """CLIP's pixels of all images, as `hoiclip predict` makes them."""
    paths = [folder / name for name in images["file_name"].to_pylist()]
    image_files = ImageFiles(paths, detector, Limits())
    (batch,) = image_files.batches(len(paths))
    assert [(row["width"], row["height"]) for row in image_files.rows] == SIZES == batch.sizes
    return batch.clip_pixels


def test_the_student_sees_in_inference_what_it_saw_in_training(
    distilled, images, folder, predict_config
):
    method = distilled.method
    caches = dataclasses.replace(make_caches(), images=images)
    data = DistillData(
        caches, range(4), make_config().teacher, 32, ImageStore(folder), method.clip_view
    )
    learnt = data.collate([data.sample(index, 0) for index in range(4)]).clip_pixels
    assert torch.equal(of_partition(distilled, images, folder, predict_config), learnt)
    assert torch.equal(of_photos(distilled, images, folder), learnt)


def test_the_detector_sees_the_student_s_images_resized(distilled, images, folder):
    paths = [folder / name for name in images["file_name"].to_pylist()]
    (batch,) = ImageFiles(paths, distilled, Limits()).batches(len(paths))
    assert min(batch.images.shape[2:]) < 2 * SCALE


def test_hoiclip_s_clip_sees_what_its_detector_sees(set_prediction, images, folder, predict_config):
    clip, names = set_prediction.method.clip, images["file_name"].to_pylist()

    def shown(image: Image.Image) -> torch.Tensor:
        return clip.preprocess(inference_view(image, set_prediction.transforms).image)

    stored = [decode((folder / name).read_bytes(), name) for name in names]
    expected = torch.stack([shown(image) for image in stored])
    found = of_partition(set_prediction, images, folder, predict_config)
    assert torch.equal(found, expected)
    # A photograph is decoded at the least size that the detector needs.
    for name, size, pixels in zip(
        names, SIZES, of_photos(set_prediction, images, folder), strict=True
    ):
        with Image.open(folder / name) as image:
            image.draft(None, resized_size(*size, SCALE, None))
            assert (image.size < size) == (min(size) >= 2 * SCALE)
            assert torch.equal(pixels, shown(image.convert("RGB")))
