"""What methods that predict a set of pairs share: targets, matching, losses, scores."""
