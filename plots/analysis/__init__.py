"""Computations behind figures and tables."""
