"""Anybody's image files in batches for a detector; those that cannot be read are put aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from hoiclip.batches.batch import Batch, Sample, collate, inference_sample
from hoiclip.batches.loading import default_signals
from hoiclip.batches.transforms import resized_size
from hoiclip.contract.model_file import Detector
from hoiclip.errors import InputError
from hoiclip.images.store import Limits, Size
from hoiclip.inference.image_files import read_image_file


class ImageFiles:
    """Images of any size and origin, as `detector` sees them.

    Attributes:
        paths: where they are.
        rows: one per image that could be read so far: `path`, full `width` and `height`; its index
            is the image's.
        errors: one per image that could not.

    Args:
        paths: the files.
        detector: whose scale and view for CLIP they are made for.
        limits: of the files.
    """

    def __init__(self, paths: Sequence[Path], detector: Detector, limits: Limits) -> None:
        self.paths = paths
        self.rows: list[dict[str, Any]] = []
        self.errors: list[InputError] = []
        self._samples = _Samples(paths, detector, limits)

    def batches(self, size: int, workers: int = 0) -> Iterator[Batch]:
        """Batches of the images that can be read, one after another.

        Args:
            size: images of a batch.
            workers: processes that read images beside this one.
        """
        readable = self._readable(workers)
        while some := list(islice(readable, size)):
            yield collate(some)

    def _readable(self, workers: int) -> Iterator[Sample]:
        loader = DataLoader(
            self._samples, batch_size=None, num_workers=workers, worker_init_fn=default_signals
        )
        for path, found in zip(self.paths, loader, strict=True):
            if isinstance(found, InputError):
                self.errors.append(found)
                continue
            index, (width, height) = len(self.rows), found.size
            self.rows.append({"path": path, "width": width, "height": height})
            yield replace(found, index=index)


class _Samples(Dataset[Sample | InputError]):
    """Image files as `detector` sees them, or why one cannot be read."""

    def __init__(self, paths: Sequence[Path], detector: Detector, limits: Limits) -> None:
        self.paths, self.limits = paths, limits
        self._transforms = detector.image_file_transforms
        self._view, self._source = detector.method.clip_view, detector.method.clip_source

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample | InputError:
        path = self.paths[index]
        try:
            image, size = read_image_file(path, self.limits, partial(self._needed, path=path))
        except InputError as error:
            return error
        return inference_sample(image, size, index, self._transforms, self._view, self._source)

    def _needed(self, size: Size, path: Path) -> Size:
        longest = self._transforms.max_side
        if min(size) * longest < max(size):
            problem = f"{size[0]} x {size[1]} pixels are too narrow to be made {longest} long"
            raise InputError(path, problem)
        if self._source == "original":
            # CLIP sees in training what a JPEG decoded in full shows.
            return size
        return resized_size(*size, self._transforms.test_scale, longest)
