"""What became of each predicted and annotated pair."""
