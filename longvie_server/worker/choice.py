"""Which world model a worker loads, and how: chosen once, and handed through as one."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, fields

from ..world_model.options import RunOptions

__all__ = ["ModelChoice"]

_NUMBERS = ("threads", "gpus")


@dataclass(frozen=True, slots=True)
class ModelChoice(RunOptions):
    """A model, as `load_model` takes it, and how it is to be run.

    Args:
        name: of the model, or a checkpoint folder.
        device: "auto", "cpu", "cuda:0" and so on.
        threads: of the CPU's work; None for the library's own choice.
    """

    name: str
    device: str = "auto"
    threads: int | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """The choice as a worker's command line says it."""
        given = {f"--{name}": value for name, value in asdict(self).items() if value is not None}
        return tuple(str(word) for pair in given.items() for word in pair)

    @classmethod
    def add_to(cls, parser: argparse.ArgumentParser) -> None:
        """Let a parser understand `flags`."""
        usual = cls("")
        for field in fields(cls):
            kind = int if field.name in _NUMBERS else str
            parser.add_argument(f"--{field.name}", type=kind, default=getattr(usual, field.name))

    @classmethod
    def of(cls, parsed: argparse.Namespace) -> ModelChoice:
        """Return what such a parser read."""
        return cls(**{field.name: getattr(parsed, field.name) for field in fields(cls)})
