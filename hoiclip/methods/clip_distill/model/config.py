"""Settings of annotation-free distillation (`clip_distill` in params.yaml); values are ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from hoiclip.core.config import check, load
from hoiclip.methods.clip_distill.caches.config import DetectionsConfig, PassConfig, View
from hoiclip.methods.clip_distill.caches.inputs import CacheSettings, detector_sizes
from hoiclip.model.config import DetectorConfig, Heads
from hoiclip.training.config import OptimizationConfig
from hoiclip.util.ranges import Config, Dropout, Layers, Power, Range, Weight

Branch = Literal["global", "union", "instance"]


@dataclass(frozen=True, kw_only=True)
class TeacherConfig(Config):
    """How CLIP's cosines become targets; see `hoiclip.methods.clip_distill.model.teacher`.

    Attributes:
        view: what CLIP sees of an image or a union: `pad` to a square, or CLIP's own `crop` of the
            centre, which cuts off the ends of what is long.
        temperature: factor on cosines before the softmax (100, the scale of OpenAI's CLIP; the toy
            world's CLIP ended its training at 31).
        null_prompt: whether "a person and the object" competes with the classes of objects that
            have no such class.
        global_scope: whether in whole images the classes of each `object` compete by themselves,
            or those of all objects of the `image`.
        filter: `entropy` weighs pairs by detection scores and by how sure CLIP is; `none` weighs
            all alike.
        shuffle: whether every pair gets the scores of a random pair of the same object class, and
            every image those of a random image: a test of what is learnt from CLIP, off
            otherwise.
    """

    view: View
    temperature: Annotated[float, Range(0, 10_000, above=True)]
    null_prompt: bool
    global_scope: Literal["object", "image"]
    filter: Literal["none", "entropy"]
    shuffle: bool


@dataclass(frozen=True, kw_only=True)
class StudentConfig(Config):
    """The student.

    Attributes:
        branches: those that it has.
        bank_heads: of the attention to the knowledge bank (8).
        relatedness: `self` adds a logit of whether human and object belong together, learnt from
            the student's own best pairs.
        dropout: probability (0.1).
    """

    branches: list[Branch]
    bank_heads: Heads
    relatedness: Literal["none", "self"]
    dropout: Dropout

    def __post_init__(self) -> None:
        super().__post_init__()
        once = self.branches and len(set(self.branches)) == len(self.branches)
        check(bool(once), f"branches: {self.branches}, expected one or more, each once")
        check(
            self.relatedness == "none" or "instance" in self.branches,
            "relatedness: 'self' is read from the instance branch, which branches leaves out",
        )


@dataclass(frozen=True, kw_only=True)
class DistillationLossConfig(Config):
    """Weights of the loss terms.

    Attributes:
        union: the union branch against the teacher's scores of unions (1).
        instance: the instance branch against the same (1).
        image: the global branch against the teacher's scores of images (1).
        tie: the best pair of an image against the teacher's scores of images (0.5).
        relatedness: the relatedness logit against the student's own best pairs (0.5).
    """

    union: Weight = 1.0
    instance: Weight = 1.0
    image: Weight = 1.0
    tie: Weight = 0.5
    relatedness: Weight = 0.5


@dataclass(frozen=True, kw_only=True)
class DistillTrainConfig(OptimizationConfig):
    """Optimisation: 12 epochs, the rate dropped at 8, a gradient norm of at most 1.

    Attributes:
        keep_features: whether CLIP's features of all images are computed once and kept, which takes
            their memory, or anew for each batch.
        held_out: share of the images, drawn by their names, that is not learnt from; agreement with
            the teacher is measured there (0.05). Nothing is chosen by it.
        loss: weights of the losses.
    """

    keep_features: bool
    held_out: Annotated[float, Range(0, 1, below=True)]
    loss: DistillationLossConfig


@dataclass(frozen=True, kw_only=True)
class DistillScoring(Config):
    """How a score is joined from its parts, which are multiplied.

    Attributes:
        detection_power: exponent of the pair's detection score (1).
        global_power: exponent of the probability that the global branch gives the class (0.5).
    """

    detection_power: Power = 1.0
    global_power: Power = 0.5


@dataclass(frozen=True, kw_only=True)
class ClipDistillConfig(Config):
    """All settings of the method.

    Attributes:
        caches: how the caches are computed.
        detections: which detections there are.
        teacher: what CLIP says of them.
        model: the student.
        train: its training.
        predict: how scores are joined in inference.
    """

    caches: PassConfig
    detections: DetectionsConfig
    teacher: TeacherConfig
    model: StudentConfig
    train: DistillTrainConfig
    predict: DistillScoring


@dataclass(frozen=True)
class DistillSettings:
    """Params that training reads.

    Attributes:
        method: the section `clip_distill`.
        detector: sizes of the pretrained detector, `model.detector`.
    """

    method: ClipDistillConfig
    detector: DetectorConfig

    @classmethod
    def read(cls, params: Path) -> DistillSettings:
        """Reads a params file.

        Raises:
            ParamsError: a section is missing or wrong.
        """
        return cls(load(ClipDistillConfig, "clip_distill", params), detector_sizes(params))

    @property
    def of_caches(self) -> CacheSettings:
        """What the passes that make the caches read of them."""
        method = self.method
        return CacheSettings(method.caches, method.detections, method.teacher.view, self.detector)


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
