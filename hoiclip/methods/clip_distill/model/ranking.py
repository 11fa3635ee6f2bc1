"""From what the student says of a batch to the best pairs of its images."""

from __future__ import annotations

import numpy as np
import torch

from hoiclip.contract.method import NotFiniteError, RankSettings
from hoiclip.contract.scored_pairs import ScoredPairs
from hoiclip.methods.clip_distill.caches.pairs import ImagePairs
from hoiclip.methods.clip_distill.model.config import DistillScoring
from hoiclip.methods.clip_distill.model.network import StudentOutputs
from hoiclip.methods.clip_distill.model.scoring import PairScores, best_rows, score_rows


def pair_scores(outputs: StudentOutputs, pairs: list[ImagePairs], image: np.ndarray) -> PairScores:
    """What the student says, on the CPU.

    Raises:
        NotFiniteError: something of it is not finite.
    """
    detection = np.concatenate([of_image.scores for of_image in pairs])
    of_pairs = [torch.from_numpy(detection)[:, None]]
    for logits in (outputs.union_logits, outputs.instance_logits):
        of_pairs += [] if logits is None else [logits.cpu()]
    if outputs.relatedness_logits is not None:
        of_pairs.append(outputs.relatedness_logits[:, None].cpu())
    strange = image[~torch.isfinite(torch.cat(of_pairs, 1)).all(1).numpy()]
    if (seen := outputs.global_logits) is not None:
        of_images = (~torch.isfinite(seen).all(1)).nonzero().flatten()
        strange = np.append(strange, of_images.cpu().numpy())
    if len(strange):
        raise NotFiniteError(int(strange.min()))
    return PairScores(
        image,
        outputs.classes.cpu().numpy(),
        outputs.mask.cpu().numpy(),
        outputs.probability.cpu().numpy(),
        detection,
        None if seen is None else seen.sigmoid().cpu().numpy(),
    )


def ranked(
    found: PairScores,
    pairs: list[ImagePairs],
    scoring: DistillScoring,
    settings: RankSettings,
) -> ScoredPairs:
    """The best rows of each image, after suppression."""
    rows = score_rows(found, scoring)
    humans = np.concatenate([p.human_boxes_xyxy for p in pairs])[rows.pair]
    objects = np.concatenate([p.object_boxes_xyxy for p in pairs])[rows.pair]
    query = rows.pair - np.searchsorted(found.image, rows.image)
    columns: tuple[np.ndarray, ...] = (
        rows.image,
        query.astype(np.int32),
        rows.hoi,
        rows.score,
        rows.hoi_score,
        rows.object_score,
        rows.clip_score,
        humans,
        objects,
    )
    kept = best_rows(
        rows.image, rows.hoi, rows.score, humans, objects, settings.top_k, settings.nms
    )
    return ScoredPairs(*(column[kept] for column in columns))
