from .collect import play as play, write_dataset as write_dataset
from .evaluate import evaluate_run as evaluate_run
from .export import export_policy as export_policy
from .levels import collect_levels as collect_levels
from .policy import Policy as Policy
from .push import Upload as Upload, push_dataset as push_dataset
from .train import Training as Training
from .video import record_video as record_video
