"""Several processes that carry out one run together: who computes what, and sums over all of them."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from gptfl.errors import ResourceError

T = TypeVar("T")

PATIENCE = timedelta(days=2)
"""How long a process waits for the others: whoever started them ends all when one ends."""
BUCKET = 2**24
"""Numbers that are summed in one message."""


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes of a run, as one of them sees them; alone unless given.

    With ``shard`` each keeps only its part of the model (FSDP), and all must compute equally many batches.
    """

    rank: int = 0
    size: int = 1
    shard: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def main(self) -> bool:
        """Whether this process writes the files and talks."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part of the items: every ``size``-th, so that neighbours in length are spread evenly."""
        return list(items[self.rank :: self.size])

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Replace every tensor by its sum over the processes, in place; they are of one type and device."""
        if self.size == 1:
            return
        bucket: list[Tensor] = []
        for tensor in tensors:
            if bucket and sum(t.numel() for t in bucket) + tensor.numel() > BUCKET:
                _add_up(bucket)
                bucket = []
            bucket.append(tensor)
        if bucket:
            _add_up(bucket)

    def broadcast(self, value: T) -> T:
        """The main process's value, in every process."""
        if self.size == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0)
        said: T = box[0]
        return said

    def gathered(self, value: T) -> list[T]:
        """Every process's value, in order of rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()


ALONE = ProcessGroup()


def _add_up(bucket: list[Tensor]) -> None:
    if len(bucket) == 1 and bucket[0].is_contiguous():
        dist.all_reduce(bucket[0])
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
    dist.all_reduce(flat)
    for tensor, part in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):  # type: ignore[no-untyped-call]
        tensor.copy_(part.view_as(tensor))


def started_size() -> int:
    """How many processes this one was started with (by gptfl, ``accelerate launch`` or torchrun); 1 if alone."""
    return int(os.environ.get("WORLD_SIZE") or 1) if "RANK" in os.environ else 1


def join(device: str, shard: bool) -> ProcessGroup:
    """Meet the other processes that this one was started with, over gloo on CPUs and nccl on GPUs.

    ``device`` is ``cpu`` or ``cuda``. Raises ``ResourceError`` where there are fewer GPUs than processes.
    """
    if started_size() == 1:
        return ALONE
    from accelerate import PartialState

    local = int(os.environ.get("LOCAL_WORLD_SIZE") or started_size())
    if device == "cuda" and torch.cuda.device_count() < local:
        raise ResourceError(
            f"--processes {local}: torch sees {torch.cuda.device_count()} GPUs",
            "ask for as many processes as there are GPUs, or --device cpu",
        )
    state = PartialState(cpu=device == "cpu", timeout=PATIENCE)
    return ProcessGroup(state.process_index, state.num_processes, shard, torch.device(own_device(device)))


def own_device(device: str) -> str:
    """The device of this process among those started together: GPU i for the i-th of a machine."""
    if device != "cuda" or started_size() == 1:
        return device
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def leave() -> None:
    """Part from the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def local_part(tensor: Tensor) -> Tensor:
    """What this process keeps of a weight: all of it, or its part where the weight is sharded."""
    from torch.distributed.tensor import DTensor

    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """The whole of a weight that may be sharded; every process must ask for it."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
