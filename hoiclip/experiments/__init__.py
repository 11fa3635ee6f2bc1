"""Comparisons beyond one run: ablation, seeds, and how hard the toy world is."""
