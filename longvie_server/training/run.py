"""One training run: a folder that holds its weights, their average, the optimizer, the step, and a log.

Laws: nothing is pickled (tensors are safetensors, the rest is JSON). Every random choice of a step is drawn from
`step_generator(seed, step)`, so a run that is stopped and resumed takes the same steps as one that was not. A
checkpoint replaces the one before it atomically.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bridge.errors import InvalidValue

__all__ = ["Ema", "Run", "Schedule", "check_weights", "parameter_groups", "read_state", "step_generator"]

STATE_FILE: Final = "state.safetensors"
LOG_FILE: Final = "log.jsonl"
_ANEW: Final = "Give another --folder, or remove this run's folder to train it anew."


def step_generator(seed: int, step: int, rank: int = 0) -> torch.Generator:
    """Return the source of all randomness of one step of one process."""
    return torch.Generator().manual_seed(((seed * 1_000_003 + step) * 1009 + rank) % 2**63)


def read_state(path: Path, *, device: str = "cpu") -> dict[str, Tensor]:
    """Return the tensors of a run's file.

    Raises:
        InvalidValue: it is cut off, or no run's.
    """
    try:
        tensors = load_file(path, device=device)
    except SafetensorError as error:
        raise InvalidValue(f"cannot be read: {error}", field="run", value=path, remedy=_ANEW) from error
    if "step" not in tensors:
        raise InvalidValue("holds no step, so it is no training run's", field="run", value=path, remedy=_ANEW)
    return tensors


def check_weights(module: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Let weights that were read from `path` be a module's.

    Raises:
        InvalidValue: one is missing, is of another shape, or is not the module's.
    """
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    told = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted({*own, *told}):
        if own.get(name) != told.get(name):
            raise InvalidValue(
                f"holds weights of another model: {name} is {told.get(name, 'missing')} there, "
                f"{own.get(name, 'missing')} here",
                field="run",
                value=path,
                remedy=_ANEW,
            )


@dataclass(frozen=True, slots=True)
class Schedule:
    """A learning rate that warms up linearly, then falls along a half cosine to a tenth of a percent of its peak."""

    peak: float
    steps: int
    warmup: int = 100

    def __post_init__(self) -> None:
        if not (0 < self.peak < math.inf and self.steps > 0 and self.warmup >= 0):
            raise InvalidValue(
                "needs a finite peak > 0, steps > 0, warmup >= 0",
                field="schedule",
                value=self,
                remedy="Choose other values.",
            )

    def at(self, step: int) -> float:
        """Return the learning rate of this step, counted from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.peak * (0.001 + 0.999 * 0.5 * (1.0 + math.cos(math.pi * done)))


class Ema:
    """The exponential average of a module's weights; young averages follow faster."""

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module's weights after step `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        state = module.state_dict()
        floats = [name for name, tensor in self.weights.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.weights[n] for n in floats], [state[n] for n in floats], 1.0 - decay)


def parameter_groups(module: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Return optimizer groups: matrices and kernels decay; gains, biases and modulations do not."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2 and p.shape[0] > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2 or p.shape[0] == 1], "weight_decay": 0.0},
    ]


class Run:
    """The module, its average and its optimizer, stepped and saved together, by one process.

    Args:
        folder: where the run lives; made when missing.
        module: what is trained, in place.
        optimizer: of the module's parameters.
        schedule: of the learning rate; its `steps` is the length of the run.
        clip_norm: longest gradient that is stepped along.
        ema_decay: of the weights' average.
        resume: go on from the folder's checkpoint if there is one.

    Raises:
        InvalidValue: the folder's checkpoint is cut off, or another module's.
    """

    def __init__(
        self,
        folder: Path,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        *,
        clip_norm: float = 1.0,
        ema_decay: float = 0.998,
        resume: bool = True,
    ) -> None:
        self.folder = folder
        self.module = module
        self.optimizer = optimizer
        self.schedule = schedule
        self.clip_norm = clip_norm
        self.ema = Ema(module, decay=ema_decay)
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if resume and (folder / STATE_FILE).exists():
            self._load()

    def steps(self, title: str, *, until: int | None = None) -> Iterator[int]:
        """Yield the numbers of the steps that are left (before `until`, if given), with a progress bar and its ETA."""
        last = self.schedule.steps if until is None else min(until, self.schedule.steps)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress:
            task = progress.add_task(title, total=last, completed=self.step)
            while self.step < last:
                yield self.step
                progress.update(task, completed=self.step)

    def backward(self, loss: Tensor) -> float:
        """Take one optimizer step down this loss; return the norm of its gradient.

        Raises:
            InvalidValue: the loss is not finite.
        """
        if not torch.isfinite(loss):
            raise InvalidValue(
                f"is not finite at step {self.step}",
                field="loss",
                value=loss.item(),
                remedy="Resume with a lower learning rate.",
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.at(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self.module.parameters(), self.clip_norm, foreach=True))
        self.optimizer.step()
        self.step += 1
        self.ema.update(self.module, self.step)
        return norm

    def log(self, **figures: float) -> None:
        """Append one line of figures to the run's log."""
        line = {"step": self.step, "time": round(time.time(), 1), **{k: round(v, 5) for k, v in figures.items()}}
        with (self.folder / LOG_FILE).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write the checkpoint."""
        tensors: dict[str, Tensor] = {"step": torch.tensor(self.step)}
        tensors.update({f"module.{k}": v.detach().contiguous() for k, v in self.module.state_dict().items()})
        tensors.update({f"ema.{k}": v.contiguous() for k, v in self.ema.weights.items()})
        for name, state in self._optimizer_states():
            tensors.update({f"optimizer.{name}.{k}": v.contiguous() for k, v in state.items()})
        partial = self.folder / f"{STATE_FILE}.partial"
        # A state dict may hold one storage twice; safetensors wants each tensor to own its bytes.
        save_file({k: v.clone() for k, v in tensors.items()}, partial)
        partial.replace(self.folder / STATE_FILE)

    def _load(self) -> None:
        tensors = read_state(self.folder / STATE_FILE, device=str(next(self.module.parameters()).device))
        step = int(tensors.pop("step"))
        sections: dict[str, dict[str, Tensor]] = {"module": {}, "ema": {}, "optimizer": {}}
        for key, tensor in tensors.items():
            section, _, name = key.partition(".")
            sections.setdefault(section, {})[name] = tensor
        for section in ("module", "ema"):
            check_weights(self.module, sections[section], self.folder / STATE_FILE)
        self.module.load_state_dict(sections["module"])
        self.ema.weights = sections["ema"]
        self.step = step
        for name, parameter in self.module.named_parameters():
            stem = f"{name}."
            state = {k[len(stem) :]: v for k, v in sections["optimizer"].items() if k.rpartition(".")[0] == name}
            if state:
                self.optimizer.state[parameter] = dict(state)

    def _optimizer_states(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        for name, parameter in self.module.named_parameters():
            if parameter in self.optimizer.state:
                yield name, self.optimizer.state[parameter]
