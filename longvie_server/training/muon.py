"""Muon: steps of equal size in every direction of a matrix, for networks that have to learn much in few steps.

A kernel's momentum, seen as a matrix, is replaced by its nearest orthogonal one (five Newton-Schulz iterations); gains
and biases are stepped by Adam. A convolutional VAE gets as far as with AdamW in about half the steps.
Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
"""

from __future__ import annotations

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
        adam_ratio: the other parameters' learning rate, as a fraction of `lr`.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95, adam_ratio: float = 0.1
    ) -> None:
        super().__init__(list(parameters), {"lr": lr, "momentum": momentum, "adam_ratio": adam_ratio})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; `closure` is not supported and must be None."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if min(parameter.flatten(1).shape) > 1 if parameter.ndim > 1 else False:
                    self._orthogonal_step(parameter, group)
                else:
                    self._adam_step(parameter, group)
        return None

    def _orthogonal_step(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        gradient = parameter.grad
        assert gradient is not None
        momentum = state["momentum"].mul_(group["momentum"]).add_(gradient)
        rows, columns = parameter.flatten(1).shape
        direction = _orthogonal(gradient.add(momentum, alpha=group["momentum"]).flatten(1))
        parameter.add_(direction.view_as(parameter), alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)

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


def _orthogonal(matrix: Tensor) -> Tensor:
    """Return about U V^T of a matrix U S V^T: its singular values land between 0.7 and 1.2."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() + 1e-7)
    a, b, c = _NEWTON_SCHULZ
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T
