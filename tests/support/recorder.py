"""A capture on the CPU: like a CUDA graph it repeats operations on the tensors that there were, and no Python."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
# What reads a number back, depends on one in its shape, or brings one from the host.
WAITING = {
    aten._local_scalar_dense, aten.is_nonzero, aten.equal, aten.allclose, aten.nonzero, aten.masked_select, aten._unique2,
    aten.lift_fresh,
}  # fmt: skip


class Recorder(TorchDispatchMode):
    """Records operations; `undo` restores what they have overwritten."""

    def __init__(self):
        super().__init__()
        self.calls, self._before = [], {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.overloadpacket in WAITING:
            raise RuntimeError(f"{func}: waits for the device")
        for argument in func._schema.arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                place = [a.name for a in func._schema.arguments].index(argument.name)
                value = kwargs.get(argument.name, args[place] if place < len(args) else None)
                for tensor in tree_leaves(value):
                    if isinstance(tensor, torch.Tensor):
                        storage = tensor.untyped_storage()
                        self._before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        result = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, result))
        return result

    def undo(self):
        for storage, before in self._before.values():
            storage.copy_(before)

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, result in self.calls:
            if func.is_view:
                continue
            for old, new in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def recorded(work):
    """A `Capture` without CUDA: runs `work` once, undoes its effects, and returns a function that repeats its operations."""
    recorder = Recorder()
    try:
        with recorder:
            work()
    finally:
        recorder.undo()
    return recorder.replay
