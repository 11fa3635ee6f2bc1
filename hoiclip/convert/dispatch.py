"""One door for every foreign file: says what it is and converts it."""

from __future__ import annotations

from pathlib import Path

from hoiclip.convert.gen_vlkt import convert_gen_vlkt
from hoiclip.convert.gen_vlkt_back import release_gen_vlkt
from hoiclip.convert.official import convert_official
from hoiclip.convert.pretrained.detect import Released, convert_file
from hoiclip.convert.pretrained.report import Conversion
from hoiclip.errors import WeightsError

RELEASED_MODELS: Released = {"official": convert_official, "gen_vlkt": convert_gen_vlkt}


def convert(
    src: str | Path,
    dst: str | Path,
    kind: str | None = None,
    setting: str | None = None,
    dilation: bool | None = None,
    clip_model: str | None = None,
) -> Conversion:
    """Converts a foreign file of any kind, see `hoiclip.convert.pretrained.detect.convert_file`.

    A model file of GEN-VLKT becomes a checkpoint under released names where `dst` is a `.pth`;
    but for its setting nothing is asked of it.
    """
    if Path(src).suffix == ".safetensors" and Path(dst).suffix in (".pth", ".pt"):
        if Path(dst).suffix != ".pth":
            raise WeightsError(f"{dst}: a model file becomes a .pth file; name it so")
        asked = {"kind": kind, "dilation": dilation, "clip_model": clip_model}
        given = [name for name, value in asked.items() if value is not None]
        if given:
            raise WeightsError(
                f"{src}: a model file says what it is; leave {' and '.join(given)} out"
            )
        return release_gen_vlkt(src, dst, setting)
    return convert_file(src, dst, RELEASED_MODELS, kind, setting, dilation, clip_model)
