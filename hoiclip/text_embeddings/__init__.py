"""Prompts, and the cache of CLIP's embeddings of them."""
