"""What a model file of CLIP distillation's needs."""
