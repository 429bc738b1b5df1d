"""What an algorithm is."""
