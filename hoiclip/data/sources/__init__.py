"""The data sets that the `dataset` stage can prepare."""
