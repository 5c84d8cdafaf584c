"""Muon: steps of equal size in every direction of a matrix, for networks that have to learn much in few steps.

A kernel's momentum, seen as a matrix, is replaced by its nearest orthogonal one (five Newton-Schulz iterations); gains
and biases are stepped by Adam. A small convolutional VAE gets as far as with AdamW in about half the steps.
Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

__all__ = ["Muon"]

_NEWTON_SCHULZ: Final = (3.4445, -4.7750, 2.0315)
_ITERATIONS: Final = 5
_ADAM_BETAS: Final = (0.9, 0.99)


class Muon(torch.optim.Optimizer):
    """Muon for kernels and matrices, Adam for everything with one axis.

    Args:
        parameters: to be stepped.
        lr: of the orthogonal steps.
        momentum: of the kernels.
        weight_decay: of the kernels.
        adam_ratio: the other parameters' learning rate, as a fraction of `lr`.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        adam_ratio: float = 0.1,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "adam_ratio": adam_ratio}
        super().__init__(list(parameters), defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; `closure` is not supported and must be None."""
        for group in self.param_groups:
            matrices: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                shape = (parameter.shape[0], parameter[0].numel())
                if parameter.ndim > 1 and min(shape) > 1:
                    matrices[shape].append(parameter)
                else:
                    self._adam_step(parameter, group)
            self._orthogonal_steps(matrices, group)
        return None

    def _orthogonal_steps(self, matrices: dict[tuple[int, int], list[nn.Parameter]], group: dict[str, Any]) -> None:
        directions = [
            _orthogonal(torch.stack([self._momentum(p, group["momentum"]) for p in parameters]))
            for parameters in matrices.values()
        ]
        for ((rows, columns), parameters), stack in zip(matrices.items(), directions, strict=True):
            length = group["lr"] * max(1.0, rows / columns) ** 0.5
            for parameter, direction in zip(parameters, stack, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(direction.view_as(parameter), alpha=-length)

    def _momentum(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """Update a kernel's momentum; return the gradient one step ahead (Nesterov), as a matrix."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        gradient = parameter.grad
        assert gradient is not None
        state["momentum"].mul_(momentum).add_(gradient)
        return gradient.add(state["momentum"], alpha=momentum).flatten(1)

    def _adam_step(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        gradient = parameter.grad
        assert gradient is not None
        state["step"] += 1
        steps = float(state["step"])
        low, high = _ADAM_BETAS
        state["mean"].lerp_(gradient, 1 - low)
        state["square"].lerp_(gradient.square(), 1 - high)
        mean, square = state["mean"] / (1 - low**steps), state["square"] / (1 - high**steps)
        parameter.add_(mean / (square.sqrt() + 1e-8), alpha=-group["lr"] * group["adam_ratio"])


def _orthogonal(matrices: Tensor) -> Tensor:
    """Return about U V^T of each matrix U S V^T, (n, rows, columns): singular values land between 0.7 and 1.2.

    Every iterate is a polynomial of the Gram matrix times the matrix, so all but two products are of the short side.
    """
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram = x @ x.mT
    one = torch.eye(gram.shape[1], device=gram.device, dtype=gram.dtype)
    product = one.expand_as(gram)
    a, b, c = _NEWTON_SCHULZ
    for _ in range(_ITERATIONS):
        factor = a * one + b * gram + c * gram @ gram
        product = factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x if matrices.shape[1] <= matrices.shape[2] else x.mT
