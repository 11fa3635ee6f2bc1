"""Finding instances by image and number."""

from __future__ import annotations

import numpy as np


class InstanceRows:
    """Finds rows of `instances` by (image_id, instance)."""

    def __init__(self, image_ids: np.ndarray, instances: np.ndarray) -> None:
        self._order = np.lexsort((instances, image_ids))
        self._keys = np.rec.fromarrays([image_ids[self._order], instances[self._order]])
        self.duplicated = np.zeros(len(image_ids), bool)
        self.duplicated[self._order[1:]] = self._keys[1:] == self._keys[:-1]

    def find(self, image_ids: np.ndarray, instances: np.ndarray) -> np.ndarray:
        """Row of each (image_id, instance); -1 where there is none."""
        wanted = np.rec.fromarrays([image_ids, instances.astype(np.int32)], dtype=self._keys.dtype)
        if not len(self._keys):
            return np.full(len(wanted), -1)
        place = np.searchsorted(self._keys, wanted).clip(max=len(self._keys) - 1)
        return np.where(self._keys[place] == wanted, self._order[place], -1)
