from .build import write_paper as write_paper
