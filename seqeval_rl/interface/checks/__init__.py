"""The public contract checks."""
