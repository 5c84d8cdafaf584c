"""Judging world models on held-out scenes, beside answers that need no model."""

from __future__ import annotations

from .evaluate import Evaluation, EvaluationConfig, Row, evaluate
from .rows import ROWS

__all__ = ["ROWS", "Evaluation", "EvaluationConfig", "Row", "evaluate"]
