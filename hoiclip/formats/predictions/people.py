"""Detected people with their actions and roles, as V-COCO's evaluator takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hoiclip.evaluation.vcoco_matching import VcocoDetections

_BOX = 4


@dataclass(frozen=True)
class PersonDetections:
    """D detected people, in the order of the file.

    Attributes:
        image_id: (D,).
        human_boxes_xyxy: (D, 4).
        agent_scores: (D, A); NaN where the action is not detected.
        role_scores: (D, R); NaN where the role is not detected.
        object_boxes_xyxy: (D, R, 4); NaN where there is no object.
    """

    image_id: np.ndarray
    human_boxes_xyxy: np.ndarray
    agent_scores: np.ndarray
    role_scores: np.ndarray
    object_boxes_xyxy: np.ndarray

    def agents(self, image: np.ndarray, offset_xyxy: np.ndarray, actions: slice) -> VcocoDetections:
        """Detections of people in some of the actions, by image.

        Args:
            image: (D,) position of the image in the images table.
            offset_xyxy: (4,) added to all boxes.
            actions: which.
        """
        nothing = np.full((1, 1, _BOX), np.nan)
        return self._chosen(image, offset_xyxy, self.agent_scores, nothing, actions)

    def roles(self, image: np.ndarray, offset_xyxy: np.ndarray, roles: slice) -> VcocoDetections:
        """Detections of people in some of the roles; arguments as of `agents`."""
        return self._chosen(image, offset_xyxy, self.role_scores, self.object_boxes_xyxy, roles)

    def _chosen(
        self,
        image: np.ndarray,
        offset_xyxy: np.ndarray,
        scores: np.ndarray,
        boxes_xyxy: np.ndarray,
        groups: slice,
    ) -> VcocoDetections:
        order = np.argsort(image, kind="stable")
        place, group = np.nonzero(~np.isnan(scores[order, groups]))
        rows, group = order[place], group + (groups.start or 0)
        shape = (*scores.shape, _BOX)
        return VcocoDetections(
            image[rows],
            group,
            self.human_boxes_xyxy[rows] + offset_xyxy,
            np.broadcast_to(boxes_xyxy, shape)[rows, group] + offset_xyxy,
            scores[rows, group],
        )
