"""The frozen CLIP: weights, towers, prompts and the cache of text embeddings."""
