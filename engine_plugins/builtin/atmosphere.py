"""Sun, sky and haze of a scene, and how they light a surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .materials import Colour, linear
from .textures import value_noise

__all__ = ["Atmosphere", "Weather", "to_srgb8"]

_F: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weather:
    """A time of day and its weather, as a scene family picks it.

    Args:
        name: words for the caption, such as "at golden hour".
        sun_height_deg: lowest and highest elevation of the sun.
        sun, zenith, horizon: colours.
        sunlight, skylight: how strong both are.
        haze_m: distance at which haze has taken two thirds of the contrast.
        clouds: share of the sky, 0..1.
        lamps: whether windows and lamps are lit.
    """

    name: str
    sun_height_deg: tuple[float, float]
    sun: Colour
    zenith: Colour
    horizon: Colour
    sunlight: float
    skylight: float
    haze_m: float
    clouds: float
    lamps: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Atmosphere:
    """The light of one scene; colours are (3,) float32 linear.

    Args:
        to_sun: unit vector in the world, (3,) float64.
        sun, skylight: light on a surface that faces the sun, or the open sky.
        zenith, horizon: the sky's own colours.
        haze_m: distance at which haze has taken two thirds of the contrast.
        clouds: share of the sky, 0..1.
        cloud_offset: (2,) float32, moves the clouds' pattern.
    """

    to_sun: NDArray[np.float64]
    sun: _F
    skylight: _F
    zenith: _F
    horizon: _F
    haze_m: float
    clouds: float
    cloud_offset: _F

    @classmethod
    def of(cls, weather: Weather, rng: np.random.Generator) -> Atmosphere:
        """Return a weather's light, with the sun's place and the clouds drawn from `rng`."""
        height = np.radians(rng.uniform(*weather.sun_height_deg))
        azimuth = rng.uniform(0.0, 2.0 * np.pi)
        to_sun = np.array([np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth), np.sin(height)])
        zenith, horizon = linear(weather.zenith), linear(weather.horizon)
        return cls(
            to_sun=to_sun,
            sun=linear(weather.sun) * np.float32(weather.sunlight),
            skylight=(0.55 * zenith + 0.45 * horizon) * np.float32(weather.skylight),
            zenith=zenith,
            horizon=horizon,
            haze_m=weather.haze_m * float(rng.uniform(0.8, 1.3)),
            clouds=float(np.clip(weather.clouds + rng.uniform(-0.15, 0.15), 0.0, 1.0)),
            cloud_offset=rng.uniform(0.0, 200.0, 2).astype(np.float32),
        )

    def sky(self, direction: _F, *, detailed: bool = True) -> _F:
        """Return what is seen in a direction, (n, 3) float32 linear; `direction` (n, 3) float32 unit vectors.

        Without detail (sun and clouds) it is what haze and blurred reflections take on.
        """
        rise = np.clip(direction[:, 2], 0.0, 1.0)
        share = np.sqrt(rise) * (1.5 - 0.5 * rise)
        colour = self.horizon + (self.zenith - self.horizon) * np.minimum(share, 1.0)[:, None]
        facing = np.clip(direction @ self.to_sun.astype(np.float32), 0.0, 1.0)
        wide = facing * facing
        wide *= wide
        wide *= wide  # the 8th power, by squaring: three passes instead of a logarithm
        colour += self.sun * (0.0875 * wide + (0.042 * wide**5 if detailed else 0.0))[:, None]
        if detailed and self.clouds > 0.0:
            colour = self._clouded(colour, direction, facing)
        if detailed:
            disc = np.clip((facing - 0.9985) * 1500.0, 0.0, 1.0)
            colour = colour + self.sun * (2.0 * disc * (1.0 - self.clouds))[:, None]
        result: _F = colour.astype(np.float32, copy=False)
        return result

    def _clouded(self, colour: _F, direction: _F, facing: _F) -> _F:
        rise = np.maximum(direction[:, 2], 0.0)
        spread = np.float32(1.6) / (rise + np.float32(0.25))
        x: _F = direction[:, 0] * spread + self.cloud_offset[0]
        y: _F = direction[:, 1] * spread + self.cloud_offset[1]
        body = 0.65 * value_noise(x, y) + 0.35 * value_noise(x * 2.3 + 40, y * 2.3 + 80)
        cover = np.clip((body - (0.72 - 0.5 * self.clouds)) * 5.0, 0.0, 1.0) * np.clip(rise * 6.0, 0.0, 1.0)
        white = 0.75 * self.horizon + 0.25 * self.sun * (0.55 + 0.45 * facing)[:, None]
        mixed = colour + (white * 1.05 - colour) * (0.85 * cover)[:, None]
        return mixed.astype(np.float32, copy=False)

    def light(self, normal: _F, sunlit: _F, openness: _F) -> _F:
        """Return the light on a matt surface, (n, 3).

        Args:
            normal: (n, 3) unit vectors towards the viewer's side.
            sunlit: (n,) share of the sun that gets there, its cosine included.
            openness: (n,) share of the sky that is seen.
        """
        up = normal[:, 2]
        sky_share = (0.62 + 0.38 * up) * openness
        bounce = (0.10 - 0.07 * up) * openness
        light: _F = (
            self.skylight * sky_share[:, None] + (self.sun * np.float32(max(self.to_sun[2], 0.2))) * bounce[:, None]
        )
        light += self.sun * sunlit[:, None]
        return light

    def hazed(self, colour: _F, direction: _F, distance_m: _F) -> _F:
        """Return colours as seen through the air, (n, 3)."""
        air = 1.0 - np.exp(-((distance_m / self.haze_m) ** 1.25))
        mixed: _F = colour + (self.sky(direction, detailed=False) - colour) * air[:, None].astype(np.float32)
        return mixed


def to_srgb8(colour: _F) -> NDArray[np.uint8]:
    """Return (..., 3) uint8 sRGB of linear light, with a filmic shoulder instead of clipping."""
    x = np.maximum(colour, 0.0)
    filmic = np.minimum(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 1.0)
    # A table of 4,096 steps over the square root is finer than 8 bits everywhere and much faster than a power.
    index = (np.sqrt(filmic) * 4095.0 + 0.5).astype(np.int32)
    return _SRGB[index]


def _srgb_table() -> NDArray[np.uint8]:
    light = (np.arange(4096) / 4095.0) ** 2
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(curve * 255.0).astype(np.uint8)


_SRGB = _srgb_table()
