"""Pictures of pairs."""
