"""What an algorithm is: its inputs, methods and settings, how it is found, and the checks that it must pass.

`Algorithm`, `Batch` and `Spec` are the contract; `Stateful`, the types of settings (`Positive`, `Layers`, ...) and
`checks.check_algorithm` help to fulfil it. Imports `errors`, `seeding` and `utils` only; every other package may import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
