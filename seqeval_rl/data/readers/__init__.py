"""Readers of dataset formats, one file each, under the entry point `seqeval_rl.readers`; `base.Reader` is the class to extend."""
