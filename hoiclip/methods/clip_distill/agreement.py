"""How often the student's best HOI class of a pair is the teacher's; needs no label."""

from __future__ import annotations

import torch

from hoiclip.methods.clip_distill.model.batch import TeacherTargets
from hoiclip.methods.clip_distill.model.network import StudentOutputs


@torch.no_grad()
def count_agreement(outputs: StudentOutputs, targets: TeacherTargets) -> tuple[int, int]:
    """Pairs on whose best class both agree, and all pairs whose object leaves a choice.

    Of equal classes the first counts as best. A student without a branch of pairs chooses none.
    """
    if outputs.union_logits is None and outputs.instance_logits is None:
        return 0, 0
    choice = outputs.mask.sum(1) > 1
    # Outside the mask both are 0, and a class of the object comes first.
    agree = outputs.probability.argmax(1) == targets.union.argmax(1)
    return int((agree & choice).sum()), int(choice.sum())
