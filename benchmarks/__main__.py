"""`python -m seqeval_rl.benchmarks` is `seqeval`."""

import sys

from seqeval_rl.benchmarks.cli import main

if __name__ == "__main__":  # worker processes import this module under another name
    sys.exit(main())
