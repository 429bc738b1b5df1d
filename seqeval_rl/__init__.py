"""Sequential evaluation of offline reinforcement learning (Sujit et al., TMLR 2023, arXiv 2212.08131).

    import seqeval_rl

    results = seqeval_rl.evaluate(["td3_bc", "bc"], "bundled/hopper/medium:20000", seeds=range(3))
    print(results.table().text())

The public names are imported at first use, so that `seqeval --help` and the plots do not import torch.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("seqeval-rl")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
