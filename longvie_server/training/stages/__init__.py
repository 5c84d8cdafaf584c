"""LongVie 2's three-stage training over a base that exists: controls, spoilt first frames, history."""

from __future__ import annotations

from .method import Ablations, Stage
from .train import StageConfig, train_stage, train_stages

__all__ = ["Ablations", "Stage", "StageConfig", "train_stage", "train_stages"]
