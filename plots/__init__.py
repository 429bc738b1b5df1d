"""Figures and tables from result files; starts no run and never imports torch.

    from seqeval_rl import read_results
    from seqeval_rl.plots import draw, save, tabulate

    results = read_results("results/quickstart")
    save(draw(results, "curves"), "results/quickstart/figures", "curves")
    for table in tabulate(results, "data"):
        print(table.text())

`analysis` computes, `figures` and `tables` show, `report` writes the HTML page; `registry` is how a figure or a table is
added. `FIGURES` and `TABLES` hold by name what `seqeval plot --kind` and `seqeval table --measures` offer. Only
`benchmarks` and users' code import this package.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
