"""A process's share of a clip's tokens, where several processes make a clip together.

In: tokens, and diffusers' description of who takes part, or None. Out: this process's share; the whole again.
Law: the history and the clip are cut apart from each other (see docs/decisions/0007), so each is handed in by itself.
"""

from __future__ import annotations

import torch
from diffusers import ParallelConfig
from torch import Tensor

from bridge.errors import InvalidValue

__all__ = ["join_shares", "share_of"]


def share_of(tokens: Tensor, parallel: ParallelConfig | None) -> Tensor:
    """Return this process's part of (batch, tokens, ...): all of it where the model runs on one.

    Raises:
        InvalidValue: the tokens cannot be divided evenly.
    """
    if parallel is None:
        return tokens
    context = parallel.context_parallel_config
    if tokens.shape[1] % context.ulysses_degree:
        raise InvalidValue(
            f"cannot be shared out among {context.ulysses_degree} processes",
            field="tokens",
            value=tokens.shape[1],
            remedy="Use a number of processes that divides it.",
        )
    share: Tensor = tokens.chunk(context.ulysses_degree, dim=1)[context._ulysses_local_rank]
    return share


def join_shares(tokens: Tensor, parallel: ParallelConfig | None) -> Tensor:
    """Return the whole, (batch, tokens, ...), of every process's share."""
    if parallel is None:
        return tokens
    context = parallel.context_parallel_config
    parts = [torch.empty_like(tokens) for _ in range(context.ulysses_degree)]
    torch.distributed.all_gather(parts, tokens.contiguous(), group=context._ulysses_mesh.get_group())
    return torch.cat(parts, dim=1)
