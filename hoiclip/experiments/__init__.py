"""What the plans in `sweeps/` ask of the package: measurements without training, and gathering."""
