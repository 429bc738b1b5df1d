from .collect import play as play, write_dataset as write_dataset
from .levels import collect_levels as collect_levels
from .policy import Policy as Policy
from .train import Training as Training
