"""Speed measurements of `seqeval bench`: updates, evaluation and estimates. Imported by `benchmarks.commands` only."""
