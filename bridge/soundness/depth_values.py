"""What depth images tell by themselves, before any geometry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ..geometry.depth import DepthKind
from .evidence import Sight
from .finding import Figure, Finding, Severity
from .hypothesis import AS_SENT
from .verdict import percent

__all__ = ["examine_values", "looks_like_device_depth"]

# No scene is 10,000 km deep: such a number stands for "nothing was hit".
_BEYOND_M: Final = 1e7


def examine_values(sights: Sequence[Sight]) -> list[Finding]:
    """Return findings for depth that is empty, or that says "nothing" by a number."""
    depths = [sight.depth(AS_SENT) for sight in sights]
    finite = [depth[np.isfinite(depth)] for depth in depths]
    if not any((values > 0).any() for values in finite):
        return [
            Finding(
                "depth_empty",
                Severity.ERROR,
                "Depth holds nothing: every pixel of every tick is 0 or inf",
                "Check that the depth pass is rendered and read back before the tick is sent.",
                (Figure("ticks looked at", float(len(sights))),),
            )
        ]
    highest = max(float(values.max()) for values in finite if values.size)
    if highest >= _BEYOND_M:
        share = float(
            np.mean([(values >= _BEYOND_M).sum() / depth.size for values, depth in zip(finite, depths, strict=True)])
        )
        unit_m = sights[0].tick.depth_declaration.metres_per_unit
        return [
            Finding(
                "background",
                Severity.ERROR,
                "Depth says “nothing was hit” by a number, which would pass for a surface",
                f"Declare DepthDeclaration(background={highest / unit_m:.4g}), or send inf there.",
                (Figure("largest depth", highest, "m"), percent("pixels", share)),
            )
        ]
    return []


def looks_like_device_depth(sights: Sequence[Sight]) -> list[Finding]:
    """Return a finding where "metres" look like a depth buffer: all within 0..1, and crowded at one end."""
    if any(sight.tick.depth_declaration.kind is DepthKind.DEVICE for sight in sights):
        return []
    values = np.concatenate([sight.tick.depth[::4, ::4].ravel() for sight in sights])
    if not (values.max() <= 1.0 and values.std() > 0.0):
        return []
    near_one, near_zero = float((values >= 0.9).mean()), float((values <= 0.1).mean())
    if max(near_one, near_zero) < 0.5:
        return []
    reversed_z = near_zero > near_one
    return [
        Finding(
            "depth_device",
            Severity.WARNING,
            f"Depth looks like a depth buffer's value ({'reversed-Z, ' if reversed_z else ''}0..1), declared as metres",
            f"Declare DepthDeclaration(kind=DepthKind.DEVICE, near=..., far=..., reversed_z={reversed_z}) "
            "with your camera's clip planes.",
            (percent("values within 0.1 of the far plane's", max(near_one, near_zero)),),
        )
    ]
