"""What every stage stands on: params, ranges of numbers, files, how a stage starts and ends."""
