"""Counts the kernels that an update launches on CUDA, on a machine without a GPU: Triton's, those of `torch.compile`, torch's.

An update is traced on torch's meta device, as the learner for CUDA takes it. Triton's launches and the operations of torch that
compute something are counted one by one. Of each function decorated with `fused` it counts the kernels that torch's compiler
plans for an H100: the compiler asks the device for a few properties only, which are given here.

For TD3+BC and IQL with one run it counted 39.0 and 56.0 where the profiler on an H100 had 39.1 and 56.1, copies of draws
included.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from seqeval_rl.benchmarks.speed.contenders import Problem
from seqeval_rl.benchmarks.speed.kernels import trace
from seqeval_rl.benchmarks.speed.updates import as_words
from seqeval_rl.errors import SeqevalError, UsageError
from seqeval_rl.interface.registry import AlgorithmEntry
from seqeval_rl.networks import fusion, triton_support

_H100: dict[str, Any] = {
    "type": "cuda", "index": 0, "multi_processor_count": 132, "cc": 90, "major": 9, "regs_per_multiprocessor": 65536,
    "max_threads_per_multi_processor": 2048, "max_threads_per_block": 1024, "warp_size": 32,
}  # fmt: skip
_CUDA = torch.device("cuda", 0)


def count(
    entries: Sequence[AlgorithmEntry], runs: Sequence[int], settings: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The launches of each algorithm on Hopper's shapes, with default `settings` but those given, by name. Raises what `launches`
    raises, and `UsageError` where an algorithm refuses its settings."""
    rows = []
    for entry, number in itertools.product(entries, runs):
        found = launches(entry, entry.configure((settings or {}).get(entry.name, {}), "the count"), Problem(), number)
        rows.append({"algorithm": entry.name, "runs": number, "kernels": sum(found.values()), "by_kernel": found})
    return {
        "what": "kernels launched per update on an H100, counted without one: nothing measured",
        "settings": settings or {},
        "versions": {"torch": torch.__version__, "triton": version("triton")},
        "rows": rows,
    }


def as_table(report: dict[str, Any]) -> str:
    """The report as text."""
    lines = [f"{report['what']} (torch {report['versions']['torch']}, Triton {report['versions']['triton']})"]
    lines += as_words(report["settings"])
    for row in report["rows"]:
        lines += ["", f"{row['algorithm']}, runs {row['runs']}: {row['kernels']:.1f} kernels"]
        lines += [f"{count:>8.2f}  {name}" for name, count in row["by_kernel"].items()]
    return "\n".join(lines)


def launches(entry: AlgorithmEntry, config: Any, problem: Problem, runs: int) -> dict[str, float]:
    """How often each kernel is launched in an update of R = `runs` runs, by name, the most frequent first; not counted are copies
    of a chunk's draws to the device.

    Raises:
        SeqevalError: Triton is not installed, or torch's compiler is none that this knows.
        UsageError: the algorithm needs numbers, for example because it reads a tensor on the host.
    """
    counted: Counter[str] = Counter()
    with _triton_counted(counted), _compiler_counted(counted):
        try:
            found = trace(entry, config, problem, runs, begins=counted.clear)
        except UsageError as error:
            if isinstance(error.__cause__, torch._dynamo.exc.BackendCompilerFailed):
                raise SeqevalError(
                    f"bench --launches: expected a compiler that plans kernels without a GPU, found torch {torch.__version__}: "
                    f"{error.__cause__.inner_exception}"
                ) from error
            raise
    counted.update(f"aten::{kernel.name}" for kernel in found.kernels)
    return {name: count / found.updates for name, count in counted.most_common()}


@contextlib.contextmanager
def _triton_counted(counted: Counter[str]) -> Iterator[None]:
    """Use Triton's kernels on the meta device, and count them by name in place of launching them."""
    try:
        from triton.runtime.interpreter import GridExecutor
        from triton.runtime.jit import JITFunction
    except ImportError as error:
        raise SeqevalError(f"counting kernels: expected Triton, found {error}. Install the package triton.") from None

    def launch(self: Any, *args: Any, **kwargs: Any) -> None:
        counted[self.fn.__name__] += 1

    with (
        mock.patch.object(JITFunction, "run", launch),
        mock.patch.object(GridExecutor, "__call__", launch),
        mock.patch.object(triton_support, "DEVICES", ("meta",)),
    ):
        yield


@contextlib.contextmanager
def _compiler_counted(counted: Counter[str]) -> Iterator[None]:
    """Call functions decorated with `fused` as they are, and count the kernels that they are compiled to."""
    compiled: dict[Callable[..., Any], Callable[..., Any]] = {}

    def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if function not in compiled:
            backend = functools.partial(_count_planned, counted, function.__qualname__)
            compiled[function] = torch.compile(function, dynamic=False, backend=backend)
        with torch.utils._python_dispatch._disable_current_modes():
            return compiled[function](*args, **kwargs)

    with mock.patch.object(fusion, "instead", call), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own modules
        yield
    torch._dynamo.reset()


def _count_planned(counted: Counter[str], name: str, graph: Any, inputs: Sequence[Any]) -> Any:
    """A backend of `torch.compile` that computes operation by operation, and counts what torch's compiler would launch."""
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch.aot_autograd import make_boxed_func
    from torch._functorch.partitioners import min_cut_rematerialization_partition
    from torch._inductor.decomposition import select_decomp_table

    def compiler(backward: bool) -> Callable[..., Any]:
        def compiled(module: torch.fx.GraphModule, example: Sequence[Any]) -> Callable[..., Any]:
            kernels = _planned(module, example, backward)

            def run(*values: Any) -> Any:
                counted[f"{name}{' backward' * backward}"] += kernels
                with torch.utils._python_dispatch._disable_current_modes():
                    return module(*values)

            return make_boxed_func(run)

        return compiled

    compiling = aot_autograd(
        fw_compiler=compiler(False),
        bw_compiler=compiler(True),
        decompositions=select_decomp_table(),
        partition_fn=functools.partial(min_cut_rematerialization_partition, compiler="inductor"),
    )
    return compiling(graph, inputs)


def _planned(module: torch.fx.GraphModule, inputs: Sequence[Any], backward: bool) -> int:
    """The number of kernels that torch's compiler makes of a graph of operations on a device like an H100."""
    from torch._inductor import scheduler
    from torch._inductor.debug import DebugContext
    from torch._inductor.fx_passes.post_grad import view_to_reshape
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    fakes = FakeTensorMode()

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=_CUDA)

    copied = copy.deepcopy(module)
    for node in copied.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": _CUDA}
    copied.recompile()
    with fakes, _pretended_h100():
        there = [moved(value) for value in inputs]
        moved_module = make_fx(copied)(*there)
        with V.set_fake_mode(fakes):
            view_to_reshape(moved_module)
            graph = GraphLowering(moved_module, example_inputs=there, is_backward=backward)
            with DebugContext(), V.set_graph_handler(graph):
                graph.run(*there)
                graph.init_wrapper_code()
                graph._update_scheduler()
                return sum(not isinstance(each, scheduler.NopKernelSchedulerNode) for each in graph.scheduler.nodes)


@contextlib.contextmanager
def _pretended_h100() -> Iterator[None]:
    """What torch's compiler asks about the device."""
    from torch._inductor import scheduler
    from torch._inductor.runtime.hints import DeviceProperties

    with (
        mock.patch.object(DeviceProperties, "create", return_value=DeviceProperties(**_H100)),
        mock.patch.object(torch.cuda, "get_device_capability", return_value=(9, 0)),
        mock.patch.object(torch.cuda, "current_device", return_value=0),
        mock.patch.object(scheduler, "has_triton", return_value=True),
    ):
        yield
