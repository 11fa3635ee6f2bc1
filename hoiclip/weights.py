"""Pretrained weights as every stage after `weights` reads them: fetched, checked, converted."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoiclip.clip_weights import convert_clip
from hoiclip.convert.detr import check_detr_file
from hoiclip.convert.sniff import convert
from hoiclip.data.download import Source, Step, fetch, plan
from hoiclip.errors import WeightsError
from hoiclip.files import atomic_file, sha256_file

# As torch.hub has it: a file's name ends in the first digits of its SHA-256.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})$")
_NOTE = "name another file in params.yaml, or give its address"


@dataclass(frozen=True, kw_only=True)
class WeightsConfig:
    """Pretrained weights (`weights` in params.yaml).

    Attributes:
        clip: file of the CLIP: OpenAI's archive, a state dict of open_clip, or a file of
            `hoiclip.clip_weights.save_clip`.
        clip_url: address to fetch it from where it is absent, or null.
        clip_model: open_clip's name of it; null where the file says it.
        clip_sha256: expected hash; null takes what comes first and holds it from then on.
        detector: file of a DETR, which `train.warm_start` starts from: a released checkpoint, or
            safetensors under DETR's names.
        detector_url: as `clip_url`.
        detector_sha256: as `clip_sha256`.
    """

    clip: str
    clip_url: str | None
    clip_model: str | None
    clip_sha256: str | None
    detector: str
    detector_url: str | None
    detector_sha256: str | None

    def _sources(self) -> list[tuple[Path, Source]]:
        files = (
            (Path(self.clip), self.clip_url, self.clip_sha256, "weights.clip"),
            (Path(self.detector), self.detector_url, self.detector_sha256, "weights.detector"),
        )
        return [
            (path.parent, Source(path=path.name, url=url, sha256=sha256, note=f"{key}: {_NOTE}"))
            for path, url, sha256, key in files
        ]

    def plan(self) -> list[Step]:
        """What would be fetched; reads no network and writes nothing."""
        return [step for folder, source in self._sources() for step in plan([source], folder)]

    def prepare(self, clip: Path, detector: Path) -> dict[str, Any]:
        """Fetches what is absent, checks both files and writes them in this project's layout.

        Args:
            clip: safetensors file to write, as `hoiclip.clip_weights.load_clip` takes it.
            detector: safetensors file to write, under DETR's names.

        Returns:
            Name and SHA-256 of each source file.

        Raises:
            InputError: a file is absent and has no address, cannot be fetched, or has another hash.
            WeightsError: a file is damaged, of another kind, or not the named model.
        """
        for folder, source in self._sources():
            fetch([source], folder)
        paths = {"clip": Path(self.clip), "detector": Path(self.detector)}
        hashes = {name: checked_hash(path) for name, path in paths.items()}
        convert_clip(paths["clip"], clip, self.clip_model)
        _prepare_detector(paths["detector"], detector)
        return {name: {"file": path.name, "sha256": hashes[name]} for name, path in paths.items()}


def checked_hash(path: Path) -> str:
    """SHA-256 of a weight file, in hex.

    Raises:
        WeightsError: the file's name ends in digits of a hash, as released files' names do, and
            the hash is another one.
    """
    found = sha256_file(path)
    named = _HASH_IN_NAME.search(path.stem)
    if named and not found.startswith(named[1]):
        raise WeightsError(
            f"{path}: SHA-256 is {found}, its name says {named[1]}. Fetch the file anew"
        )
    return found


def _prepare_detector(path: Path, out: Path) -> None:
    if path.suffix == ".safetensors":
        check_detr_file(path)
        _copy(path, out)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        convert(path, out, kind="detr")


def _copy(path: Path, out: Path) -> None:
    with atomic_file(out) as aside:
        shutil.copyfile(path, aside)
