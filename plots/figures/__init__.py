"""Figures: registered functions, and what they share (`layout`, `style`, `ticks`).

A module computes with `plots.analysis` and draws with matplotlib, which it imports only when something is drawn. Every module of
this package is imported when figures are listed, see `plots.registry`. What is public is exported by `seqeval_rl.plots`.
"""
