"""The reference algorithms, one file each, written from their papers' equations."""
