"""The method as data: what each stage trains and how often it spoils what, and what can be left out.

Source: LongVie 2 (arXiv 2512.13604), section 3 and its released training settings. Where neither gives a figure, it is
ours and marked so.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from torch import nn

from bridge.errors import InvalidValue

from ...world_model.longvie2.transformer import LongVie2Transformer3DModel

__all__ = ["CONTROLS", "METHOD", "Ablations", "Method", "Stage", "choose_trained"]

CONTROLS: Final = ("both", "dense", "sparse")


class Stage(str, enum.Enum):
    """What is learnt, in this order."""

    CONTROL = "control"
    FIRST_FRAME = "first-frame"
    HISTORY = "history"


@dataclass(frozen=True, slots=True)
class Method:
    """One stage.

    Args:
        learning_rate: of AdamW.
        self_attention: the base's self-attention trains with the control branches.
        from_zero: the fusion layers begin at zero, so that the first step's video is the base's.
        spoilt_share: of the samples without history, whose first frame is coded again and again, or redrawn.
        tint_share: of the samples without history, whose first frame drifts in colour.
        tint: least and greatest strength of that drift.
        history_share: of the samples that have one.
        history_spoilt_share, history_tint_share, history_tint: the same for a history, whose last frame the first
            frame is.
        way_out: a clip that begins with a spoilt frame is asked to begin like it and to leave it: see `objective`.
        scaled_share, least_scale: samples whose dense tokens are scaled by a random factor, and the least one. Ours.
        blurred_share: of the samples, whose dense video is fused from several scales, some dropped, and blurred. Ours.
    """

    learning_rate: float
    self_attention: bool = False
    from_zero: bool = False
    spoilt_share: float = 0.0
    tint_share: float = 0.0
    tint: tuple[float, float] = (0.1, 0.2)
    history_share: float = 0.0
    history_spoilt_share: float = 0.05
    history_tint_share: float = 0.05
    history_tint: tuple[float, float] = (0.1, 0.3)
    way_out: bool = False
    scaled_share: float = 0.15
    least_scale: float = 0.05
    blurred_share: float = 0.1


METHOD: Final = {
    Stage.CONTROL: Method(1e-5, from_zero=True),
    Stage.FIRST_FRAME: Method(1e-5, spoilt_share=0.1, tint_share=0.1),
    Stage.HISTORY: Method(5e-6, self_attention=True, spoilt_share=0.1, tint_share=0.1, history_share=0.8, way_out=True),
}
"""The three stages."""


@dataclass(frozen=True, slots=True)
class Ablations:
    """What is left out, to see what it is good for. Whole stages are left out where several are run.

    Args:
        history: False trains the third stage without any.
        unified_noise: False begins every clip at noise of its own, without the history's last latent in it.
        per_clip_range: stretch every clip's depth to its own range instead of the video's.
        controls: "both", or the one that is left.

    Raises:
        InvalidValue: there is no such control.
    """

    history: bool = True
    unified_noise: bool = True
    per_clip_range: bool = False
    controls: str = "both"

    def __post_init__(self) -> None:
        if self.controls not in CONTROLS:
            raise InvalidValue(
                "is no control", field="controls", value=self.controls, remedy=f"Choose from {', '.join(CONTROLS)}."
            )


def choose_trained(transformer: LongVie2Transformer3DModel, method: Method) -> dict[str, nn.Parameter]:
    """Freeze all that a stage does not train; return the rest by name."""
    transformer.requires_grad_(False)
    for parameter in transformer.control_parameters():
        parameter.requires_grad_(True)
    if method.self_attention:
        for block in transformer.blocks:
            block.attn1.requires_grad_(True)
    return {name: parameter for name, parameter in transformer.named_parameters() if parameter.requires_grad}
