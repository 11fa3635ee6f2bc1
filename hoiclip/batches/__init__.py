"""Images as networks take them: resized, augmented, in batches."""
