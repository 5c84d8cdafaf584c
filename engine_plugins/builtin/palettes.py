"""The colours and the weather that scene families draw from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .atmosphere import Weather
from .materials import Colour

__all__ = ["PALETTES", "WEATHERS", "Palette", "pick_palette", "pick_weather"]


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one place.

    Args:
        name: words for the caption.
        walls, roofs, leaves, paints: to choose from; paints are for what is man-made and small.
        grass, soil: of open ground, light and dark.
        paving, asphalt: of squares and roads.
        stone: rock and plinths.
    """

    name: str
    walls: tuple[Colour, ...]
    roofs: tuple[Colour, ...]
    leaves: tuple[Colour, ...]
    paints: tuple[Colour, ...]
    grass: tuple[Colour, Colour]
    soil: tuple[Colour, Colour]
    paving: Colour
    asphalt: Colour
    stone: Colour


PALETTES: Final = (
    Palette(
        "terracotta and cream",
        ("e9d3ab", "d9a877", "f0e2c8", "c98a62", "e3bf92"),
        ("b4532f", "a2462b", "c4683c"),
        ("5c7f3a", "6f8f3f", "47692f"),
        ("c7392f", "2f6d8f", "f2c14e", "f4f1ea", "3a3d44", "5b8f7b"),
        ("8fa353", "6d8640"),
        ("b99a6b", "94764d"),
        "cbb592",
        "56534f",
        "a89a86",
    ),
    Palette(
        "red brick and slate",
        ("9c4a3a", "b0604a", "83403a", "c2b19c", "a8574a"),
        ("4b525e", "3d434d", "5c6470"),
        ("4f7a3c", "3c6334", "6b8a3e"),
        ("1f4e79", "d9a520", "e8e6e1", "a31f2c", "2e2f33", "6f9fc2"),
        ("6f9148", "54753a"),
        ("8a7456", "6b5840"),
        "a9a49c",
        "45474b",
        "8d8a85",
    ),
    Palette(
        "pastel",
        ("f2b8b5", "a9d3e0", "f6e3a1", "b9dcb4", "d7bde2", "f4d0a8"),
        ("c96f5c", "7b8fa6", "e6e1d6"),
        ("77a857", "5e9450", "8fbf6a"),
        ("e4572e", "17bebb", "ffc914", "f7f4ec", "76448a", "2e4057"),
        ("9cc06a", "7fab58"),
        ("d6bd8f", "b99d70"),
        "ddd3c2",
        "6a6a70",
        "bdb5ab",
    ),
    Palette(
        "glass and concrete",
        ("b8bdc2", "8f979f", "cfd2d3", "707a85", "a5a29c"),
        ("80868c", "686e75", "9aa0a5"),
        ("4c7a4a", "5d8a55", "3f6840"),
        ("e23d28", "f5f5f5", "22252a", "f0b323", "2673b8", "8a8f94"),
        ("7c9a58", "648247"),
        ("9b917f", "7d7464"),
        "b9bab8",
        "3f4246",
        "9b9c9c",
    ),
    Palette(
        "desert sand and turquoise",
        ("dcb884", "cfa36d", "e8d0a4", "b98856", "efe0c2"),
        ("c99d66", "3f9a98", "b37f4e"),
        ("7d8a45", "96984f", "667a3c"),
        ("2a9d8f", "e9c46a", "e76f51", "f5efe0", "264653", "8d5b4c"),
        ("c9ad72", "b0935b"),
        ("d2ac74", "b48a55"),
        "d9bd8e",
        "6c6257",
        "b5966d",
    ),
    Palette(
        "nordic timber",
        ("a6342b", "d9a441", "f1ede2", "2f5d62", "35506b", "c7c2b6"),
        ("2f3338", "44484d", "6e3b30"),
        ("2f5a3a", "3f6e45", "557f46"),
        ("f4d35e", "ee964b", "f95738", "faf7f0", "0d3b66", "28323a"),
        ("7d9a52", "5f7f42"),
        ("83735a", "645640"),
        "a8a59b",
        "4a4b4e",
        "7f7f7b",
    ),
    Palette(
        "autumn",
        ("d8c3a1", "a97c58", "8c5a44", "e6d8c0", "b59b7c"),
        ("5a3d34", "704a3c", "454049"),
        ("d1772a", "c24d22", "dfa635", "a93a24"),
        ("274c77", "f1f0ea", "9c2c2c", "e0a030", "33302e", "6b8e7f"),
        ("a69a4e", "8a7f3e"),
        ("94774f", "74593a"),
        "b3a48f",
        "504c4a",
        "8f8579",
    ),
    Palette(
        "winter white",
        ("b7a58f", "8f4f43", "d8cfc0", "6f7f8a", "c2a878"),
        ("eef1f4", "e3e9ee", "f4f5f6"),
        ("3d5a4a", "54705c", "dfe6e8"),
        ("b3272d", "22577a", "f4a300", "f2f2f2", "30343a", "57886c"),
        ("eceff1", "d7dee3"),
        ("d9dadb", "bcc1c5"),
        "d3d6d8",
        "676b70",
        "a5abb0",
    ),
)

WEATHERS: Final = (
    Weather("on a clear morning", (22, 38), "ffe9c9", "3f7fc4", "cfe3f0", 2.5, 0.62, 700, 0.25),
    Weather("at noon under a blue sky", (52, 68), "fff7e8", "2f6fc0", "bcd9ef", 2.7, 0.60, 900, 0.30),
    Weather("on a bright afternoon", (34, 50), "fff0d2", "3a78bf", "d3e2e8", 2.6, 0.62, 700, 0.40),
    Weather("at golden hour", (9, 17), "ffcb94", "4a72ae", "f3d0a4", 2.5, 0.70, 480, 0.35),
    Weather("at sunset", (5, 9), "ffb488", "4a5796", "f2b08c", 2.0, 0.85, 420, 0.50, lamps=True),
    Weather("under an overcast sky", (40, 60), "f2f4f6", "9fb0bd", "cdd5da", 0.55, 1.25, 420, 0.90),
    Weather("in morning fog", (18, 32), "fff1dc", "b9c6cf", "dadfe0", 1.0, 1.05, 190, 0.60),
    Weather("at blue dusk", (10, 20), "8fa8d8", "1d2f5c", "6f7fae", 0.6, 1.35, 360, 0.30, lamps=True),
)


def pick_palette(rng: np.random.Generator) -> Palette:
    """Return one of the palettes, all equally likely."""
    return PALETTES[int(rng.integers(len(PALETTES)))]


def pick_weather(rng: np.random.Generator) -> Weather:
    """Return one of the weathers; clear ones are more likely."""
    odds = np.array([3, 3, 4, 3, 1.5, 2, 1.5, 1.5])
    return WEATHERS[int(rng.choice(len(WEATHERS), p=odds / odds.sum()))]
