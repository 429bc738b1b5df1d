"""Behavioral cloning on batches of sequences, which also records what it is given."""

from dataclasses import dataclass

from seqeval_rl.algorithms.bc import BC, BCConfig
from seqeval_rl.interface.algorithm import Batch


@dataclass(frozen=True)
class SequenceBCConfig(BCConfig):
    sequence_length: int = 4


def last(batch):
    """The last transitions of sequences, as a batch of single ones."""
    columns = (batch.observations, batch.actions, batch.rewards, batch.next_observations, batch.masks)
    return Batch(*(column[:, :, -1] for column in columns), batch.noise)


class SequenceBC(BC):
    """Clones the last action; a metric depends on all of the sequence."""

    Config = SequenceBCConfig
    name = "SequenceBC"

    def update(self, batch):
        metrics = super().update(last(batch))
        return {
            **metrics,
            "sequence/sum": (batch.rewards * batch.steps).sum((1, 2)),
            "sequence/valid": batch.valid.mean((1, 2)),
        }


class ReturnsBC(SequenceBC):
    name = "ReturnsBC"
    returns_to_go = True

    def update(self, batch):
        return {**super().update(batch), "sequence/to_go": batch.returns_to_go.mean((1, 2))}
