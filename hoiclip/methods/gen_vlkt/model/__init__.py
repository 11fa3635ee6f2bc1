"""What a model file of GEN-VLKT's needs."""
