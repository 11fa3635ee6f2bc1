"""Pretrained weights as every stage after `weights` reads them: fetched, checked, converted."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from hoiclip.checkpoints.clip import convert_clip
from hoiclip.convert.pretrained.detect import convert_file
from hoiclip.convert.pretrained.detr import check_detr_file
from hoiclip.core import schema
from hoiclip.core.config import check
from hoiclip.core.files import atomic_file, sha256_file
from hoiclip.fetch.addresses import check_address
from hoiclip.fetch.download import Source, Step, check_sha256, fetch, plan
from hoiclip.inside import check_inside

_NOTE = "name another file in params.yaml, or give its address"


@dataclass(frozen=True, kw_only=True)
class WeightsConfig:
    """Pretrained weights (`weights` in params.yaml).

    Attributes:
        raw: folder of the files below, all of which lie inside it.
        clip: file of the CLIP: OpenAI's archive, a state dict of open_clip, or a file of
            `hoiclip.checkpoints.clip.save_clip`. Its images are normalised with OpenAI's mean and
            standard deviation unless the file says otherwise.
        clip_url: address to fetch it from where it is absent, or null.
        clip_model: open_clip's name of it; null where the file says it.
        clip_sha256: see `hoiclip.fetch.download.Source`.
        detector: file of a DETR, which `train.warm_start` starts from: a released checkpoint, or
            safetensors under DETR's names.
        detector_url: as `clip_url`.
        detector_sha256: as `clip_sha256`.
        verb_vectors: file of verb vectors to take instead of computing them: the released
            `verb.pth`, or the table that `hoiclip convert` makes of it; null computes. Whether
            unseen classes are in it, nobody checks.
    """

    raw: str
    clip: str
    clip_url: str | None
    clip_model: str | None
    clip_sha256: str | None
    detector: str
    detector_url: str | None
    detector_sha256: str | None
    verb_vectors: str | None

    def __post_init__(self) -> None:
        for key in ("clip", "detector", "verb_vectors"):
            path = getattr(self, key)
            if path is not None:
                check_inside(key, path, self.raw)
        for key in ("clip_url", "detector_url"):
            check_address(key, getattr(self, key))
        for key in ("clip_sha256", "detector_sha256"):
            check_sha256(key, getattr(self, key))
        # open_clip takes `local-dir:...` and `hf-hub:...` for places to read a model from.
        plain = self.clip_model is None or not set(self.clip_model) & set(":/\\")
        check(plain, f"clip_model: {self.clip_model!r} is a place, expected a name, as ViT-B-32")

    def _sources(self) -> list[Source]:
        files = [
            ("clip", self.clip, self.clip_url, self.clip_sha256),
            ("detector", self.detector, self.detector_url, self.detector_sha256),
        ]
        if self.verb_vectors is not None:
            files.append(("verb_vectors", self.verb_vectors, None, None))
        return [
            Source(path=path, url=url, sha256=sha256, note=f"weights.{key}: {_NOTE}")
            for key, path, url, sha256 in files
        ]

    def plan(self) -> list[Step]:
        """What would be fetched; reads no network and writes nothing."""
        return plan(self._sources(), self.raw)

    def prepare(self, clip: Path, detector: Path, verb_vectors: Path) -> dict[str, str]:
        """Fetches what is absent, checks the files and writes them in this project's layout.

        Args:
            clip: safetensors file to write, as `hoiclip.checkpoints.clip.load_clip` takes it.
            detector: safetensors file to write, under DETR's names.
            verb_vectors: table to write, of `schema.verb_vectors_schema`; without rows where no
                file of them is named.

        Returns:
            SHA-256 of each source file, by name.

        Raises:
            InputError: a file is absent and has no address, cannot be fetched, or has another hash.
            WeightsError: a file is damaged, of another kind, or not the named model.
        """
        sources = self._sources()
        fetch(sources, self.raw)
        convert_clip(Path(self.raw, self.clip), clip, self.clip_model)
        _prepare_detector(Path(self.raw, self.detector), detector)
        if self.verb_vectors is None:
            empty = schema.verb_vectors_schema(1)
            schema.write_table(verb_vectors, empty.empty_table(), empty, {})
        else:
            _prepare_verb_vectors(Path(self.raw, self.verb_vectors), verb_vectors)
        return {source.path: sha256_file(Path(self.raw, source.path)) for source in sources}


def _prepare_detector(path: Path, out: Path) -> None:
    if path.suffix == ".safetensors":
        check_detr_file(path)
        _copy(path, out)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        convert_file(path, out, released={}, kind="detr")


def _prepare_verb_vectors(path: Path, out: Path) -> None:
    if path.suffix == ".parquet":
        schema.read_table(path)
        _copy(path, out)
    else:
        convert_file(path, out, released={}, kind="verb")


def _copy(path: Path, out: Path) -> None:
    with atomic_file(out) as aside:
        shutil.copyfile(path, aside)
