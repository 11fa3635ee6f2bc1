"""The dataset stage: each source from its files to shards, tables and findings."""
