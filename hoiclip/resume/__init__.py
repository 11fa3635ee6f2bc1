"""What interrupted work goes on from."""
