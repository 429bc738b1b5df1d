"""Helpers for files, processes, text and the console. Imports nothing of the project; exports nothing publicly."""
