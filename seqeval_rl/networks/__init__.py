"""Networks with a run axis."""
