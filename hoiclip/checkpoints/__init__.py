"""PyTorch's files of other programs, read without running what is in them."""
