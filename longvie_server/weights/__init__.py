"""From what is published to a folder that serves: fetch, convert, check."""

from __future__ import annotations

from .check import check_model
from .convert import convert
from .fetch import PUBLISHED, FetchPlan, fetch, plan_fetch

__all__ = ["PUBLISHED", "FetchPlan", "check_model", "convert", "fetch", "plan_fetch"]
