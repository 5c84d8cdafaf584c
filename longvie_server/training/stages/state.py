"""A stage's training on disk: weights, their average, the optimizer and the step, in one safetensors file.

Laws: only what is trained is in it, whole, however it is shared out among processes, so that a training may go on with
another number of them; a file replaces the one before atomically; nothing is pickled.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from bridge.errors import InvalidValue

from ..run import STATE_FILE

__all__ = ["SavedRun", "TrainingState", "load_average", "saved_run"]

_WEIGHTS: Final = "weights."
_AVERAGE: Final = "average."
_OPTIMIZER: Final = "optimizer."


@dataclass(frozen=True, slots=True)
class SavedRun:
    """What a training's file says of itself.

    Args:
        run: the training's own name, drawn when it began: two with the same settings have two.
        step: that it was saved at.
        identity: what a training must have in common with it to go on from it.
    """

    run: str
    step: int
    identity: dict[str, Any]


def saved_run(folder: Path) -> SavedRun | None:
    """Return what the training in a folder says of itself; None where there is none yet.

    Raises:
        InvalidValue: its file is no training's of this version.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            return SavedRun(told["run"], int(file.get_tensor("step")), json.loads(told["identity"]))
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise _refusal(path, f"is no training's of this version: {error}") from error


class TrainingState:
    """What is stepped and saved together.

    Args:
        folder: of the run; made when missing.
        trained: parameters by name, whole or shared out.
        optimizer: of these.
        ema: of these, in their order.
        identity: what a training must have in common with the file that it goes on from.
    """

    def __init__(
        self,
        folder: Path,
        trained: dict[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        ema: EMAModel,
        identity: dict[str, Any],
    ) -> None:
        self.folder, self.trained, self.optimizer, self.ema = folder, trained, optimizer, ema
        self.step = 0
        self._run = secrets.token_hex(8)
        self._identity = json.dumps(identity, sort_keys=True)
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, *, write: bool) -> None:
        """Write the file.

        Args:
            write: this process does; the others only give their share of what is shared out.
        """
        if not write:
            for _, tensor in self._tensors():
                if isinstance(tensor, DTensor):
                    # All have to take part in putting it together, but only one has to keep it.
                    tensor.full_tensor()
            return
        tensors = {"step": torch.tensor(self.step), **{name: _whole(tensor) for name, tensor in self._tensors()}}
        partial = self.folder / f"{STATE_FILE}.partial"
        save_file(tensors, partial, metadata={"identity": self._identity, "run": self._run})
        partial.replace(self.folder / STATE_FILE)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Weights, averages and the optimizer's, by their names in the file, in one order in all processes."""
        for (name, parameter), average in zip(self.trained.items(), self.ema.shadow_params, strict=True):
            yield _WEIGHTS + name, parameter
            yield _AVERAGE + name, average
            for key, value in sorted(self.optimizer.state[parameter].items()):
                yield f"{_OPTIMIZER}{name}.{key}", value

    def load(self) -> None:
        """Go on from the file, if there is one.

        Raises:
            InvalidValue: it is another training's, or its tensors are not this model's.
        """
        saved, path = saved_run(self.folder), self.folder / STATE_FILE
        if saved is None:
            return
        told = json.dumps(saved.identity, sort_keys=True)
        if told != self._identity:
            raise InvalidValue(
                f"holds another training: {told}",
                field="--folder",
                value=self._identity,
                remedy="Give the same settings again, or another folder.",
            )
        with safe_open(path, framework="pt") as file:
            keys = set(file.keys())
            for name, parameter in self.trained.items():
                for key in (_WEIGHTS + name, _AVERAGE + name):
                    there = file.get_slice(key).get_shape() if key in keys else None
                    if there != list(parameter.shape):
                        problem = f"{key} is {there} there, and {list(parameter.shape)} in this model"
                        raise _refusal(path, "is another model's: " + problem)
            self.step, self._run = saved.step, saved.run
            self.ema.optimization_step = self.step
            with torch.no_grad():
                for (name, parameter), average in zip(self.trained.items(), self.ema.shadow_params, strict=True):
                    parameter.copy_(_placed(file.get_tensor(_WEIGHTS + name), parameter))
                    average.copy_(_placed(file.get_tensor(_AVERAGE + name), average))
                    stem = f"{_OPTIMIZER}{name}."
                    self.optimizer.state[parameter] = {
                        key.removeprefix(stem): _placed(file.get_tensor(key), parameter)
                        for key in sorted(keys)
                        if key.rpartition(".")[0] + "." == stem
                    }


def load_average(module: nn.Module, folder: Path) -> SavedRun:
    """Put a training's average into a module that has all of its weights; return what it is of.

    Raises:
        InvalidValue: the folder holds no training.
    """
    saved = saved_run(folder)
    if saved is None:
        raise InvalidValue("holds no training", field="--folder", value=folder, remedy="Train first.")
    own = dict(module.named_parameters())
    with safe_open(folder / STATE_FILE, framework="pt") as file, torch.no_grad():
        for key in file.keys():  # noqa: SIM118 - it is no dict
            if key.startswith(_AVERAGE):
                own[key.removeprefix(_AVERAGE)].copy_(file.get_tensor(key))
    return saved


def _refusal(path: Path, problem: str) -> InvalidValue:
    remedy = "Give another folder, or remove the file to train anew."
    return InvalidValue(problem, field="--folder", value=path, remedy=remedy)


def _whole(tensor: Tensor) -> Tensor:
    """A tensor of its own bytes on the CPU, put together where it is shared out."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().to("cpu", copy=True).contiguous()


def _placed(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as another lies: shared out, on its device. Numbers (an optimizer's steps) stay where they are."""
    if tensor.ndim == 0:
        return tensor
    if isinstance(like, DTensor):
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return tensor.to(like.device)
