"""Measurements: ours and the peer's, side by side in one run. `make bench` runs them all."""
