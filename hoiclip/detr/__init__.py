"""The pretrained DETR: its network and its file."""
