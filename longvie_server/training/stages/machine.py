"""Where a training runs: one device or several, whole weights on each or shared out; whoever starts the processes.

accelerate knows the processes, devices and the numbers' type; weights are shared out by torch's own `fully_shard`,
block by block, which accelerate would do on accelerators only: so what runs on a cluster is what is tested on a CPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from bridge.errors import InvalidValue

from ...world_model.longvie2.transformer import LongVie2Transformer3DModel

__all__ = ["PRECISIONS", "Machine"]

PRECISIONS: Final = {"no": torch.float32, "bf16": torch.bfloat16}
_PATIENCE: Final = timedelta(hours=12)
"""How long processes wait for one that works alone: its share of the data, a checkpoint. NCCL's own are ten minutes."""


class Machine:
    """The processes of a training; torchrun or `accelerate launch` starts them, or it is one.

    Args:
        device: "auto" for the accelerators that are here, or "cpu".
        precision: of `PRECISIONS`: what the denoiser computes in; weights, their average and the optimizer are float32.
        shard: share the denoiser's weights and all that belongs to them out among the processes.

    Attributes:
        dtype: of the precision.

    Raises:
        InvalidValue: an unknown precision or device, or weights to share out and no one to share with.
    """

    def __init__(self, *, device: str = "auto", precision: str = "no", shard: bool = False) -> None:
        if precision not in PRECISIONS:
            raise InvalidValue(
                "is unknown", field="--precision", value=precision, remedy=f"Choose from {', '.join(PRECISIONS)}."
            )
        if device not in ("auto", "cpu"):
            raise InvalidValue("is unknown", field="--device", value=device, remedy="Choose from auto, cpu.")
        cpu = device == "cpu" or not torch.accelerator.is_available()
        self.accelerator: Any = Accelerator(
            cpu=cpu, mixed_precision=precision, kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)]
        )
        self.shard = shard
        self.dtype = PRECISIONS[precision]
        if shard and self.processes == 1:
            raise InvalidValue(
                "needs several processes",
                field="--shard",
                value=os.environ.get("WORLD_SIZE", "1"),
                remedy="Start it with: torchrun --nproc-per-node N -m longvie_server train ...",
            )

    @property
    def processes(self) -> int:
        """How many there are."""
        return int(self.accelerator.num_processes)

    @property
    def rank(self) -> int:
        """This one's number."""
        return int(self.accelerator.process_index)

    @property
    def first(self) -> bool:
        """Whether this one writes files and speaks."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """This one's."""
        return torch.device(self.accelerator.device)

    def wait(self) -> None:
        """Wait for all the others."""
        self.accelerator.wait_for_everyone()

    def place(self, transformer: LongVie2Transformer3DModel) -> nn.Module:
        """Return the denoiser as it is trained; shared out, its parameters are other objects."""
        if not self.shard:
            prepared: nn.Module = self.accelerator.prepare_model(transformer)
            return prepared
        # Not moved to the device whole: `fully_shard` moves the block that it is given, and keeps a share of it.
        mesh = init_device_mesh(self.device.type, (self.processes,))
        policy = MixedPrecisionPolicy(param_dtype=self.dtype, reduce_dtype=torch.float32)
        stacks = (transformer.blocks, transformer.control_blocks_dense, transformer.control_blocks_sparse)
        for block in (block for stack in stacks for block in stack):
            fully_shard(block, mesh=mesh, mp_policy=policy)
        fully_shard(transformer, mesh=mesh, mp_policy=policy)
        assert isinstance(transformer, FSDPModule)
        return transformer

    def reshare(self, model: nn.Module) -> None:
        """Give back whole weights that passes without a backward one left here: they are of before the next change."""
        if isinstance(model, FSDPModule):
            model.reshard()

    def release(self) -> None:
        """Forget the models that were placed."""
        self.accelerator.free_memory()

    def close(self) -> None:
        """End the processes' connection."""
        self.accelerator.end_training()

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradients, averaged over the processes, to those that are there."""
        self.accelerator.backward(loss)

    def clip(self, parameters: Iterable[nn.Parameter], longest: float) -> float:
        """Shorten the gradient; return how long it was."""
        norm = nn.utils.clip_grad_norm_(parameters, longest)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def mean(self, value: Tensor) -> float:
        """Return a number's mean over the processes."""
        return float(self.accelerator.reduce(value.detach().float(), reduction="mean"))
