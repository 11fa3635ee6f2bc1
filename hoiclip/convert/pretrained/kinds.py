"""Kinds of foreign files that are converted."""

KINDS = {
    "official": "a released HOICLIP checkpoint, which `hoiclip predict` takes once converted",
    "gen_vlkt": "a released GEN-VLKT checkpoint, which `hoiclip predict` takes once converted",
    "detr": "a DETR checkpoint, which weights.detector names",
    "clip": "CLIP weights, which weights.clip names",
    "verb": "released verb vectors",
}
"""Kind → what it is, and what takes it once converted."""
