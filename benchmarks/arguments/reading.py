"""The options of every command that reads datasets; the comment of a field is its help text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import UseAppendAction, arg

from seqeval_rl.environments.tasks import Bound
from seqeval_rl.errors import UsageError


@dataclass(frozen=True)
class Reading:
    """How datasets are read, in place of what they, or the streams of a suite, say."""

    # the task, in place of that of the data: a known one, or an environment's id such as Pendulum-v1 or my_package:MyEnv-v0
    task: Annotated[str | None, arg(metavar="NAME|ENV_ID")] = None
    # returns of score 0 and 100, in place of the task's; a task without any has no scores, but returns
    reference_returns: Annotated[str | None, arg(metavar="MIN,MAX")] = None
    # lower bound of actions, one number or one for each dimension, in place of that of the data and the environment
    action_low: Annotated[tuple[float, ...] | None, arg(metavar="LOW")] = None
    action_high: Annotated[tuple[float, ...] | None, arg(metavar="HIGH")] = None  # upper bound of actions
    clip_actions: bool = False  # clip actions outside the bounds, and count them; otherwise they are refused
    # code that the data may name to open their environment: a module, which is imported so that it registers its
    # environments, module:Id or module:Class; may be given again. Otherwise it comes from gymnasium's registry
    trust_environment: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME")] = ()

    def options(self) -> dict[str, Any]:
        """What was given, as keyword arguments of `load_dataset` and fields of a `StreamSpec`. Raises `UsageError`."""
        from seqeval_rl.data.stream import given_reading

        references = reference_returns(self.reference_returns, "--reference-returns")
        low, high = _bound(self.action_low), _bound(self.action_high)
        trusted = self.trust_environment
        return given_reading(self.task, references, low, high, self.clip_actions, "--task", trusted)


def reference_returns(text: str | None, option: str) -> tuple[float, float] | None:
    """`-20,3234` as two numbers; None stays None. Raises `UsageError` for anything else."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = float("nan")
    if not low < high:
        raise UsageError(
            f"{option} {text!r}: expected MIN,MAX, two numbers with MIN < MAX: the returns of a random and of an expert policy, "
            "for example 0,100."
        )
    return low, high


def _bound(values: tuple[float, ...] | None) -> Bound:
    return values[0] if values and len(values) == 1 else values or None
