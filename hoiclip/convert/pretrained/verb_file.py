"""The released verb vectors (`verb.pth`) → the verb-vector table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from hoiclip.catalog.vocabularies import hico_det, vcoco
from hoiclip.checkpoints.pytorch import check_plain
from hoiclip.convert.pretrained.report import Conversion
from hoiclip.core import schema
from hoiclip.core.files import sha256_file
from hoiclip.errors import WeightsError

SOURCE = "released"
_UNIT_TOLERANCE = 1e-3


def convert_verb_file(path: Path, vectors: Tensor, dst: str | Path) -> Conversion:
    """Writes verb vectors as rows of `schema.verb_vectors_schema`, representation `arithmetic`.

    How many pairs stand behind a vector is unknown, so `pairs` is 0; `source` says `released`. Rows
    keep their length: the released network starts from them as they are, and so does this one.

    Args:
        path: where `vectors` come from.
        vectors: (V, E), V as in HICO-DET, whose released rows are of unit length, or as in V-COCO,
            whose released rows are not (0.4 to 20.4).
        dst: the `.parquet` file to write.

    Raises:
        WeightsError: as of `check_plain`; another shape, a row that vanishes or is not finite, or
            one of HICO-DET's that is not of unit length.
    """
    check_plain(path, "a tensor", vectors)
    known = {"HICO-DET": hico_det().num_verbs, "V-COCO": vcoco().num_verbs}
    if vectors.dim() != 2 or len(vectors) not in known.values():
        expected = " or ".join(f"{verbs} rows ({name})" for name, verbs in known.items())
        raise WeightsError(
            f"{path}: a tensor of shape {tuple(vectors.shape)}; verb vectors have {expected}"
        )
    rows = vectors.detach().to(torch.float32).numpy()
    lengths = np.linalg.norm(rows, axis=1)
    unit = np.abs(lengths - 1) <= _UNIT_TOLERANCE
    of_hico_det = len(rows) == known["HICO-DET"]
    right = unit if of_hico_det else np.isfinite(lengths) & (lengths > _UNIT_TOLERANCE)
    if not right.all():
        row = int(np.argmin(right))
        expected = "1" if of_hico_det else "more than 0"
        raise WeightsError(
            f"{path}: row {row} has length {lengths[row]:.4g}, expected {expected}; "
            "are these verb vectors?"
        )
    number, width = rows.shape
    columns = {
        "representation": ["arithmetic"] * number,
        "verb": np.arange(number, dtype=np.int32),
        "source": [SOURCE] * number,
        "pairs": np.zeros(number, np.int64),
        "vector": schema.numpy_to_fixed_lists(rows),
    }
    provenance = {"accumulation": SOURCE, "source": path.name, "sha256": sha256_file(path)}
    notes = []
    if not unit.all():
        spread = f"{lengths.min():.3g} to {lengths.max():.3g}"
        notes.append(f"vectors of lengths {spread}, kept: the released network starts from them")
    layout = schema.verb_vectors_schema(width)
    schema.write_table(dst, pa.table(columns).cast(layout), layout, provenance)
    return Conversion(Path(dst), "verb", provenance=provenance, notes=notes)
