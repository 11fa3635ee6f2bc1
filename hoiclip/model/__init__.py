"""The network, one file per component of the paper."""
