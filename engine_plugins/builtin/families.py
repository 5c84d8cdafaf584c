"""The scene families: what models train on, and what they are judged on. The two never overlap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from bridge.errors import InvalidValue

from .hills import hills
from .islands import islands
from .plaza import plaza
from .scene import Scene
from .street import street

__all__ = [
    "EVALUATION_FAMILIES",
    "FAMILIES",
    "TRAINING_FAMILIES",
    "evaluation_family",
    "evaluation_scene",
    "make_scene",
    "training_family",
    "training_scene",
]

FAMILIES: Final[Mapping[str, Callable[[int], Scene]]] = {
    "street": street,
    "plaza": plaza,
    "hills": hills,
    "islands": islands,
}
"""Every family by name: a function from a seed to a scene."""

TRAINING_FAMILIES: Final[Mapping[str, float]] = {"street": 1 / 3, "plaza": 1 / 3, "hills": 1 / 3}
"""What models may be trained on, with its share of the scenes."""

EVALUATION_FAMILIES: Final = ("islands",)
"""What models are judged on, and used for nothing else."""


def make_scene(family: str, seed: int) -> Scene:
    """Return a scene; equal arguments give equal scenes, byte for byte.

    Raises:
        InvalidValue: the family is unknown, or the seed negative.
    """
    if family not in FAMILIES:
        raise InvalidValue(
            "is no scene family", field="family", value=family, remedy=f"Choose from {sorted(FAMILIES)}."
        )
    if seed < 0:
        raise InvalidValue("must not be negative", field="seed", value=seed, remedy="Count seeds from 0.")
    return FAMILIES[family](seed)


def training_family(seed: int) -> str:
    """Return the family of a seed's training scene.

    Raises:
        InvalidValue: the seed is negative.
    """
    if seed < 0:
        raise InvalidValue("must not be negative", field="seed", value=seed, remedy="Count seeds from 0.")
    names, shares = list(TRAINING_FAMILIES), np.array(list(TRAINING_FAMILIES.values()))
    pick = np.random.default_rng([seed, 0]).choice(len(names), p=shares / shares.sum())
    return names[int(pick)]


def training_scene(seed: int) -> Scene:
    """Return a scene to train on: the seed also picks the family.

    Raises:
        InvalidValue: the seed is negative.
    """
    return make_scene(training_family(seed), seed)


def evaluation_family(number: int) -> str:
    """Return the family of an evaluation scene: numbers go through the evaluation families in turn."""
    return EVALUATION_FAMILIES[number % len(EVALUATION_FAMILIES)]


def evaluation_scene(number: int) -> Scene:
    """Return a scene to judge on: the number also picks the family.

    Raises:
        InvalidValue: the number is negative.
    """
    return make_scene(evaluation_family(number), number)
