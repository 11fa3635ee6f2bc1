"""What holds for every method: the contract, the model file, and what its tensors have to be."""
