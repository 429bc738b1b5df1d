"""The `seqeval` command, the suites, and measurements of speed. Imports every other package; none imports it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
