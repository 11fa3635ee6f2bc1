"""Parts of a detector that networks share, one file per component."""
