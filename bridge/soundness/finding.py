"""What `longvie doctor` says about a stream: a finding, its weight, its figures."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Figure", "Finding", "Severity"]


class Severity(str, enum.Enum):
    """How much a finding matters."""

    ERROR = "error"
    """The generated video will not show what the engine sees."""
    WARNING = "warning"
    """It may not: the stream is unusual, or the evidence is thin."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that a finding rests on."""

    name: str
    value: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g}{' ' if self.unit else ''}{self.unit}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a stream of ticks.

    Args:
        code: stable, for programs: "depth_scale".
        severity: how much it matters.
        sentence: what is wrong, in plain words.
        remedy: what to do about it, as an instruction.
        figures: what it rests on.
    """

    code: str
    severity: Severity
    sentence: str
    remedy: str
    figures: tuple[Figure, ...] = ()

    def __str__(self) -> str:
        figures = f" ({', '.join(map(str, self.figures))})" if self.figures else ""
        return f"{self.severity.value}: {self.sentence}{figures}. {self.remedy}"
