"""Computations behind figures, tables and the report, in numpy: runs grouped into curves, statistics, captions.

Imports `seqeval_rl.results`, `errors` and `utils` only; the figures, tables and the report import it. What is public is exported
by `seqeval_rl.plots`.
"""
