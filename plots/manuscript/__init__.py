"""What a paper needs of results, in one directory: figures, tables, BibTeX, and a paragraph on how they were made."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
