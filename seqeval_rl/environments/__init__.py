"""Tasks and vector environments."""
