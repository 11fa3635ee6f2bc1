"""What a model file of HOICLIP's needs."""
