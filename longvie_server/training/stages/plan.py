"""What happens to the samples of one step: drawn from (seed, step) alone, so all processes do alike.

That matters where the weights are shared out: a redrawn first frame is passes of the model, which all processes have to
take together. Which clips they see, and with what noise, each process draws for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .method import Ablations, Method

__all__ = ["HISTORY_LENGTHS", "StepPlan", "draw_plan", "own_random", "plan_random"]

HISTORY_LENGTHS: Final = (4, 8, 12, 16)
"""Frames; the VAE makes 1, 2, 3, 4 latents of them."""
_RECODED: Final = 0.4
_PASSES: Final = (0.4, 0.3, 0.2, 0.1)
"""Shares of 1, 2, 3 and 4 passes: milder more often."""
_REDRAWN_FROM: Final = (0.1, 0.5)
"""Noise that a redrawn frame is taken to. Ours."""
_PLANS, _OWN = 1, 2
"""What tells the streams of random numbers apart."""


def plan_random(seed: int, step: int) -> np.random.Generator:
    """Return the source of a step's plan, the same in all processes."""
    return _random(seed, _PLANS, step)


def own_random(seed: int, step: int, part: int, rank: int) -> np.random.Generator:
    """Return the source of what a process draws for itself.

    Args:
        seed: of the training.
        step, part: the step, and the pass of it.
        rank: the process's number.
    """
    return _random(seed, _OWN, step, part, rank)


def _random(seed: int, *key: int) -> np.random.Generator:
    # No list of numbers as a seed: numpy pads that with zeros, so that [7, 3] and [7, 3, 0, 0] are one stream.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step.

    Args:
        history: frames, 0 for none.
        passes: through the VAE and back; 0 for none.
        redrawn_from: noise that the first frame is taken to and back from by the model; 0 for none.
        tint: strength of the colour drift; 0 for none.
        scale: of the dense tokens; 1 for none.
        blurred: the dense video is.
    """

    history: int = 0
    passes: int = 0
    redrawn_from: float = 0.0
    tint: float = 0.0
    scale: float = 1.0
    blurred: bool = False

    @property
    def spoilt(self) -> bool:
        """Whether the first frame is not the true one."""
        return self.passes > 0 or self.redrawn_from > 0 or self.tint > 0


def draw_plan(method: Method, ablations: Ablations, random: np.random.Generator) -> StepPlan:
    """Return what happens to a step's samples."""
    # Always as many numbers, so that an ablation changes nothing but itself.
    chance = random.random(6)
    history = int(random.choice(HISTORY_LENGTHS))
    passes = 1 + int(random.choice(len(_PASSES), p=_PASSES))
    redrawn_from, tint, scale = random.uniform(*_REDRAWN_FROM), random.random(), random.uniform(method.least_scale, 1)
    if not ablations.history or chance[0] >= method.history_share:
        history = 0
    spoilt_share = method.history_spoilt_share if history else method.spoilt_share
    tint_share, (least, greatest) = (
        (method.history_tint_share, method.history_tint) if history else (method.tint_share, method.tint)
    )
    spoilt, recoded = chance[1] < spoilt_share, chance[2] < _RECODED
    return StepPlan(
        history=history,
        passes=passes if spoilt and recoded else 0,
        redrawn_from=redrawn_from if spoilt and not recoded else 0.0,
        tint=least + (greatest - least) * tint if chance[3] < tint_share else 0.0,
        scale=scale if chance[4] < method.scaled_share else 1.0,
        blurred=bool(chance[5] < method.blurred_share),
    )
