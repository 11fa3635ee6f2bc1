"""HOICLIP (Ning, Qiu, Liu, He, CVPR 2023)."""
