"""Foreign checkpoints → this project's files."""
