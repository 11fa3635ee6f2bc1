"""Reading checkpoints, and what needs no method: DETR and files of verb vectors."""
