"""`seqeval policy` and `seqeval evaluate`: what is done with the policy of a run after it."""

from __future__ import annotations

import math

from seqeval_rl.benchmarks.arguments.policy import Evaluate, PolicyOf
from seqeval_rl.collection.evaluate import evaluate_run
from seqeval_rl.collection.policy import Policy
from seqeval_rl.environments.spaces import Shapes
from seqeval_rl.errors import UsageError
from seqeval_rl.results.read import SECOND_EVALUATIONS


def _box(shapes: Shapes) -> str:
    low, high = (", ".join(f"{bound:g}" for bound in bounds) for bounds in (shapes.action_low, shapes.action_high))
    return f"actions {shapes.action_low.shape} from ({low}) to ({high})"


def policy(command: PolicyOf) -> None:
    """Describe the policy, and write what is asked for. Raises `SeqevalError` for everything that is not a bug."""
    if command.export is None and command.out is not None:
        raise UsageError(
            f"policy --out {command.out}: expected --export with it, found none. Add it, or leave --out out."
        )
    found = Policy.load(command.run, command.algorithm, command.trust_environment)
    shapes = found.shapes
    print(f"{found.description}, in {found.task.env_id}")
    if shapes.action_classes is not None:
        first, last = (int(bound[0]) for bound in (shapes.action_low, shapes.action_high))
        print(f"observations {shapes.obs_shape} -> a discrete action from {first} to {last}")
    else:
        print(f"observations {shapes.obs_shape} -> {_box(shapes)}")
    if command.export is not None:
        from seqeval_rl.collection.export import FORMATS, export_policy

        path = command.out or command.run / f"policy{FORMATS[command.export]}"
        difference = export_policy(found, path, command.export)
        print(f"{path}: {command.export}, largest difference to the policy {difference:.1e}")
    if command.video is not None:
        from seqeval_rl.collection.video import record_video

        for number, shown in enumerate(record_video(found, command.video, command.episodes)):
            score = "" if math.isnan(shown.score) else f"score {shown.score:.1f}, "
            print(f"episode {number}: {score}return {shown.value:.1f}, {shown.length} environment steps")
        print(command.video)


def evaluate(command: Evaluate) -> None:
    """Evaluate and print the result. Raises `SeqevalError` for everything that is not a bug."""
    entry = evaluate_run(command.run, command.episodes, command.algorithm, command.trust_environment)
    metrics, episodes = entry["metrics"], entry["episodes"]
    main = "score" if "score" in metrics else "return"
    error = f" ± {metrics[f'{main}_std'] / math.sqrt(episodes - 1):.2f} (standard error)" if episodes > 1 else ""
    print(f"{entry['checkpoint']}: {main} {metrics[main]:.2f}{error} in {episodes} episode{'s' * (episodes != 1)}")
    print(command.run / SECOND_EVALUATIONS)
