"""Products of 8-bit numbers in the transformer's blocks: half the time of 16 bits on cards that can, another picture.

In: a transformer and its device. Out: the same transformer; every linear layer of its blocks rounds its weights once,
and its inputs at every call. Laws: a weight's row and a token have a scale each, so one large value spoils no other
row; the embeddings, the controls' way in and out, and the head keep their type. The memory profiles called float8 are
something else: they store 8 bits and compute in 16.
"""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import Tensor, nn

from bridge.errors import InvalidValue

from .transformer import LongVie2Transformer3DModel

__all__ = ["Float8Linear", "use_float8"]

_LARGEST: Final = torch.finfo(torch.float8_e4m3fn).max
_LEAST_SCALE: Final = 1e-12


class Float8Linear(nn.Module):
    """A linear layer that multiplies 8-bit numbers, e4m3.

    Args:
        linear: whose weights are rounded.
        device: where that is done; the result lies where the linear layer was.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, device: torch.device) -> None:
        super().__init__()
        weight, scale = _rounded(linear.weight.detach().to(device))
        self.register_buffer("weight", weight.to(linear.weight.device))
        self.register_buffer("scale", scale.t().to(linear.weight.device))
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., out) of (..., in), in the type of x."""
        tokens, scale = _rounded(x.flatten(0, -2))
        out = torch._scaled_mm(tokens, self.weight.t(), scale_a=scale, scale_b=self.scale, out_dtype=x.dtype)
        # A bias that is added inside would have to be of the result's type on every card.
        out = out if self.bias is None else out + self.bias.to(x.dtype)
        return out.view(*x.shape[:-1], -1)


def use_float8(transformer: LongVie2Transformer3DModel, device: torch.device) -> None:
    """Change the linear layers of all blocks; once per transformer, before it is laid out.

    Raises:
        InvalidValue: the device cannot multiply 8-bit numbers.
    """
    _try_out(transformer, device)
    stacks = (transformer.blocks, transformer.control_blocks_dense, transformer.control_blocks_sparse)
    for stack in stacks:
        for parent in list(stack.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(parent, name, Float8Linear(child, device))


def _rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, columns) -> the same in 8 bits, and what each row has to be multiplied by, (rows, 1) float32."""
    scale = (rows.abs().amax(dim=1, keepdim=True).float() / _LARGEST).clamp(min=_LEAST_SCALE)
    return (rows.float() / scale).to(torch.float8_e4m3fn), scale


def _try_out(transformer: LongVie2Transformer3DModel, device: torch.device) -> None:
    linear = next(part for part in transformer.blocks.modules() if isinstance(part, nn.Linear))
    tokens = torch.ones(16, linear.in_features, device=device, dtype=transformer.dtype)
    try:
        with torch.no_grad():
            # A copy: what is tried is moved to the device, its bias too.
            Float8Linear(copy.deepcopy(linear), device).to(device)(tokens)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise InvalidValue(
            f"products of 8-bit numbers do not run here ({str(error).splitlines()[0]})",
            field="products",
            value="float8",
            remedy="Use a card of compute capability 8.9 or more (H100, RTX 4090), or leave it at full.",
        ) from error
