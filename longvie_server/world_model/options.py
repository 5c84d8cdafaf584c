"""How a model is to be run: what lies where, what is traded for speed. Names only: no torch is needed here."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RunOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Choices that LongVie 2 leaves open; the defaults change nothing but the last bits. The fake reads none.

    Args:
        memory: "auto" or a memory profile's name: what of a large model lies on the device.
        quality: "final", "balanced" or "preview": what is traded for speed.
        attention: "auto" or an attention kernel's name.
        compile: "auto", "on" or "off": the blocks become machine code of their own, once, while the model is loaded.
        products: "full", or "float8": the blocks multiply 8-bit numbers, which another picture comes of.
        decoder: "full", or "tiny": a published small network makes the pictures of Wan 2.1's latents, for previews.
        gpus: processes that make each clip together, each on a device of its own.
    """

    memory: str = "auto"
    quality: str = "final"
    attention: str = "auto"
    compile: str = "auto"
    products: str = "full"
    decoder: str = "full"
    gpus: int = 1
