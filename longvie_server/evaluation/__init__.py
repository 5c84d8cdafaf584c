"""Judging world models on videos whose truth is known, beside answers that need no model."""

from __future__ import annotations

from .evaluate import EvaluationConfig, evaluate
from .perceptual import Perceptual, load_perceptual
from .result import Evaluation, Row
from .rows import ROWS

__all__ = ["ROWS", "Evaluation", "EvaluationConfig", "Perceptual", "Row", "evaluate", "load_perceptual"]
