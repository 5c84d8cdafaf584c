"""One clip on several processes: tokens shared out, the two passes of guidance side by side.

In: `torch.distributed`, initialised with one process per device. Out: the same flow on every process.
Laws:
- Every process holds the whole model and the same share of the history's and of the clip's tokens, history in front:
  a control token meets the very token that it controls. (Cutting the joined sequence would not: history shifts it.)
- Attention exchanges heads for tokens (Ulysses, diffusers' own); all else is done on a process's own tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig, ParallelConfig
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from bridge.errors import InvalidValue

from .transformer import LongVie2Transformer3DModel

__all__ = ["Guidance", "parallelise"]


@dataclass(frozen=True, slots=True)
class Guidance:
    """Who computes which of the two passes of guidance.

    Args:
        mesh: of the two sides, this process's in it.
    """

    mesh: DeviceMesh

    @property
    def side(self) -> int:
        """0: with the prompt; 1: with the negative prompt."""
        return int(self.mesh.get_local_rank())

    def exchange(self, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Return the flows of both sides, given this one's."""
        flows = [torch.empty_like(flow) for _ in range(2)]
        dist.all_gather(flows, flow.contiguous(), group=self.mesh.get_group())
        return flows[0], flows[1]


def parallelise(transformer: LongVie2Transformer3DModel, *, guided: bool) -> Guidance | None:
    """Share a transformer's work among all processes; return who guides, None where each computes both passes.

    Args:
        transformer: on this process's device.
        guided: the clips will take two passes per step: half of an even number of processes takes each.

    Raises:
        InvalidValue: the heads of the base or of the control branches cannot be shared out evenly.
    """
    processes = dist.get_world_size()
    sides = 2 if guided and processes % 2 == 0 else 1
    shares = processes // sides
    config = transformer.config
    for name in ("num_attention_heads", "control_num_attention_heads"):
        if config[name] % shares:
            raise InvalidValue(
                f"{config[name]} heads ({name}) cannot be shared out among {shares} processes",
                field="gpus",
                value=processes,
                remedy="Use 1, 2, 4 or 5 for tokens, times 2 for guidance.",
            )
    mesh = init_device_mesh(transformer.device.type, (sides, 1, shares), mesh_dim_names=("guidance", "ring", "ulysses"))
    if shares > 1:
        # What `enable_parallelism` does, which asks for an accelerator; its plan of cuts cannot say "history apart".
        parallel = ParallelConfig(context_parallel_config=ContextParallelConfig(ulysses_degree=shares))
        parallel.setup(dist.get_rank(), processes, transformer.device, mesh=mesh["ring", "ulysses"])
        transformer._parallel_config = parallel
        for module in transformer.modules():
            if isinstance(module, WanAttention):
                module.processor._parallel_config = parallel
    return Guidance(mesh["guidance"]) if sides == 2 else None
