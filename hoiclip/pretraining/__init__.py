"""Pretraining of the toy world's stand-ins for CLIP and DETR."""
