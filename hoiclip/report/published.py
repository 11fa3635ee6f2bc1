"""What the paper reports on HICO-DET (Ning et al., CVPR 2023), mAP in percent.

The numbers stand beside a run only if that run is on HICO-DET too.
"""

DATASET = "hico_det"
HOICLIP = {
    "default": {"full": 34.69, "rare": 31.12, "non_rare": 35.74},
    "known_object": {"full": 37.61, "rare": 34.47, "non_rare": 38.54},
}
# Row of the ablation → Full, Rare, Non-rare.
ABLATION = {
    "base": (32.09, 26.68, 33.71),
    "clip": (32.72, 28.74, 33.92),
    "integration": (34.13, 30.54, 35.20),
    "verb": (34.54, 30.71, 35.70),
    "free": (34.69, 31.12, 35.74),
}
