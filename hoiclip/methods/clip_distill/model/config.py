"""What a model file says of the method."""

from __future__ import annotations

from dataclasses import dataclass

from hoiclip.methods.clip_distill.caches.config import (
    DetectionsConfig,
    StudentConfig,
    TeacherConfig,
)
from hoiclip.model.config import DetectorConfig
from hoiclip.util.ranges import Config, Layers


@dataclass(frozen=True, kw_only=True)
class DistilledConfig(Config):
    """What a model file says of detector, teacher and student.

    Attributes:
        detections: which detections make pairs.
        teacher: what the student learnt from.
        student: its branches.
        detector: sizes of the detector.
        decoder_layers: of the detector.
        objects: the detector's object classes, in the order of its class head.
    """

    detections: DetectionsConfig
    teacher: TeacherConfig
    student: StudentConfig
    detector: DetectorConfig
    decoder_layers: Layers
    objects: list[str]
