import dataclasses

import pytest


@pytest.mark.parametrize("channels", [[4, 4, 8, 8], [8, 8, 8, 7], [64, 0, 64, 64]])
def test_narrow_stages_are_refused_with_the_reason(model_config, channels):
    backbone = model_config.detector.backbone
    with pytest.raises(ValueError, match=r"channels\[\d\]: .*at least 8 .*without AVX-512"):
        dataclasses.replace(backbone, channels=channels)
    assert dataclasses.replace(backbone, channels=[8, 8, 8, 8]).channels == [8, 8, 8, 8]
