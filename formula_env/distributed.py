"""Processes that `torchrun` starts to train one model together: each works on its own rows of every batch.

A process alone is the first of one, and everything here leaves its values as they are.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from formula_env.errors import FormulaError


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Join the other processes, if `torchrun` started some; on GPUs each takes its own."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        _check_gpus(device)
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield
        wait_for_all()  # no process leaves while another one is still at work
    finally:
        dist.destroy_process_group()


def leave(code: int) -> None:
    """End this process at once with this exit code, if `torchrun` started it; a process alone returns.

    DistributedDataParallel never lets go of its group (torch 2.13), so gloo's threads outlive it. One that still
    runs while the interpreter is taken down may abort the process after all its work is done ("terminate called
    without an active exception").
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _check_gpus(device: str) -> None:
    processes, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if torch.device(device).index is not None:
        raise FormulaError(f"each of several processes takes a GPU of its own: --device cuda, not {device}")
    if processes > gpus:
        raise FormulaError(f"{processes} processes need as many GPUs; there are {gpus} here")


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes files and prints."""
    return rank() == 0


def check_alone(what: str) -> None:
    """Raise FormulaError where several processes train something that can't share its batches."""
    if world_size() > 1:
        raise FormulaError(f"{what} trains in one process; start it without torchrun")


def parallel(network: nn.Module) -> nn.Module:
    """The network for forward passes with gradients, which DistributedDataParallel averages over the processes."""
    return nn.parallel.DistributedDataParallel(network) if dist.is_initialized() else network


def local_batch_size(batch_size: int) -> int:
    """How many rows of a batch each process takes. Raises FormulaError if they can't be shared evenly."""
    if batch_size % world_size():
        raise FormulaError(
            f"batch_size {batch_size} can't be shared evenly by {world_size()} processes; "
            f"use a multiple of {world_size()}"
        )
    return batch_size // world_size()


def local_rows(batch: Tensor) -> Tensor:
    """This process' rows of a batch `(B, …)` that all processes know."""
    return batch.chunk(world_size())[rank()]


def all_sum(values: Tensor) -> Tensor:
    """The sum of every process' values, element by element."""
    if not dist.is_initialized():
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values


def all_mean(values: Tensor) -> Tensor:
    """The mean of every process' values, element by element."""
    return all_sum(values) / world_size() if dist.is_initialized() else values


def all_gather(rows: Tensor) -> Tensor:
    """The joint batch: every process' rows, one below the other. `local_rows` takes it apart again."""
    if not dist.is_initialized():
        return rows
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def from_first(value: Any) -> Any:
    """The first process' value, in every process."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def wait_for_all() -> None:
    """Wait until every process has come this far."""
    if dist.is_initialized():
        dist.barrier()


def all_max(number: int) -> int:
    """The largest of every process' numbers."""
    if not dist.is_initialized():
        return number
    value = torch.tensor(number)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)
