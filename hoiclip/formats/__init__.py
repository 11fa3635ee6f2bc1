"""File formats of annotations and predictions; `registry` lists them."""
