"""What a model file of such a method needs; all else here is for training alone."""
