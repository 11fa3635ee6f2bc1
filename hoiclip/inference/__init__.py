"""From a model file and images to scored pairs."""
