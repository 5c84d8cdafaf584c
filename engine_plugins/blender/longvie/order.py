"""What the user asked for: one shot on one server. No Blender in it, so it can be saved, compared and tested."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.errors import InvalidValue
from bridge.geometry.fit import Fit
from bridge.tick import DepthRange

from .sampling import Sampling

__all__ = ["QUALITIES", "ServerAddress", "ShotOrder", "seconds_text"]

QUALITIES: Final = ("final", "balanced", "preview")
"""As `longvie serve --quality` spells them, from the slowest to the fastest."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where the server is, and how long to try.

    Args:
        url: tcp://host:port, as `longvie serve` prints it.
        token: as the server was started with.
        server_key: its CURVE key where the connection is encrypted.
        timeout_s: how long to wait for the first answer.
        reconnect_timeout_s: how long to wait for a server that has vanished.

    Raises:
        InvalidValue: not an address of ZeroMQ: gRPC is not vendored into Blender.
    """

    url: str
    token: str = ""
    server_key: str = ""
    timeout_s: float = 20.0
    reconnect_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("tcp://", "ipc://")):
            raise InvalidValue(
                "is no address that Blender can reach",
                field="server",
                value=self.url,
                remedy="Write tcp://host:port, as `longvie serve` prints it beside zeromq.",
            )


@dataclass(frozen=True, slots=True)
class ShotOrder:
    """A shot to be generated.

    Args:
        prompt: what the video shows at the start.
        prompts: (tick, text) of later ones, in order.
        first_frame: file of the image that the video starts from.
        sampling: which moments are captured.
        out: folder of the frames.
        seed: the same seed and shot give the same frames.
        model: by name; empty for the server's default.
        quality: one of `QUALITIES`: a server that was started with another one is refused; empty takes any.
        fit: how the render's aspect becomes the model's.
        depth_range: near and far that map to black and white; None: the server measures the first clip.

    Raises:
        InvalidValue: the prompt is empty, the seed out of range, or the quality unknown.
    """

    prompt: str
    first_frame: Path
    sampling: Sampling
    out: Path
    prompts: tuple[tuple[int, str], ...] = ()
    seed: int = 0
    model: str = ""
    quality: str = ""
    fit: Fit = Fit.CROP
    depth_range: DepthRange | None = None

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise InvalidValue("must not be empty", field="prompt", remedy="Describe what the video shows.")
        if not 0 <= self.seed < 2**63:
            raise InvalidValue("must be 0 or more", field="seed", value=self.seed, remedy="Choose another seed.")
        if self.quality not in ("", *QUALITIES):
            raise InvalidValue(
                "unknown", field="quality", value=self.quality, remedy=f"Use one of {', '.join(QUALITIES)}."
            )
        object.__setattr__(self, "prompts", tuple(sorted(p for p in self.prompts if p[1].strip())))

    def prompt_at(self, tick: int) -> str:
        """Return the prompt of a clip that begins at `tick`."""
        return next((text for at, text in reversed(self.prompts) if at <= tick), self.prompt)

    def prompts_after(self, tick: int) -> tuple[tuple[int, str], ...]:
        """Return the prompts that a session which begins at `tick` has yet to be told."""
        return tuple(p for p in self.prompts if p[0] > tick)

    def facts(self) -> Mapping[str, str]:
        """Return what the frames depend on, by the name that the user knows it by."""
        sampling = self.sampling
        return {
            "prompt": self.prompt,
            "prompt markers": "; ".join(f"{tick}: {text}" for tick, text in self.prompts),
            "seed": str(self.seed),
            "frame start": str(sampling.frame_start),
            "frame rate": f"{sampling.frames_per_second:.6f}",
            "sampling": sampling.mode.value,
            "quality": self.quality,
            "fit": self.fit.value,
            "depth range": "measured" if self.depth_range is None else str(self.depth_range),
        }


def seconds_text(seconds: float) -> str:
    """Return a duration as people say it: 45 s, 12 min, 2 h 05 min."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
