"""What does not change from step to step of a clip, kept after the first step.

In: the first pass's own values. Out: the same values to later passes, so numbers are those of a pass without a memo.
Laws: a memo belongs to one clip and one prompt, and is dropped with them; nothing is kept on the model. It is filled
where the value is needed (inside the block whose weights are on the device just then), so offloading works as before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from torch import Tensor

__all__ = ["TEXT_TOKENS", "ClipMemo", "ContextAttnProcessor", "ContextSlot", "PassMemo", "kept", "slots_for"]

TEXT_TOKENS = 512
"""Text tokens of every prompt: the attention layers tell image from text tokens by this number."""

T = TypeVar("T")
_Pair = tuple[Tensor, Tensor]


class ClipMemo:
    """What all passes of a clip share: tokens of the controls and of the history, positions."""

    def __init__(self) -> None:
        self._values: dict[str, object] = {}

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """Return the value of this name, made the first time it is asked for."""
        if name not in self._values:
            self._values[name] = make()
        return self._values[name]  # type: ignore[return-value]


class PassMemo(ClipMemo):
    """What the passes with one prompt share.

    Args:
        clip: what they share with those of the clip's other prompt.
    """

    def __init__(self, clip: ClipMemo) -> None:
        super().__init__()
        self.clip = clip


class ContextSlot:
    """One block's context, in the place of a tensor: cross-attention leaves its keys and values in it.

    Args:
        context: (batch, image tokens + 512, width).
    """

    def __init__(self, context: Tensor) -> None:
        self.context = context
        self._projected: tuple[_Pair, _Pair | None] | None = None

    def keys_and_values(self, attn: WanAttention) -> tuple[_Pair, _Pair | None]:
        """Return those of the text, and of the image where the block attends to one; (batch, tokens, heads, size)."""
        if self._projected is None:
            image, text = self.context[:, :-TEXT_TOKENS], self.context[:, -TEXT_TOKENS:]
            of_text = attn.norm_k(attn.to_k(text)), attn.to_v(text)
            of_image = None
            if attn.add_k_proj is not None:
                of_image = _by_head(attn, attn.norm_added_k(attn.add_k_proj(image)), attn.add_v_proj(image))
            self._projected = _by_head(attn, *of_text), of_image
        return self._projected


class ContextAttnProcessor(WanAttnProcessor):  # type: ignore[misc]
    """Wan's cross-attention, and the same from a `ContextSlot`."""

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | ContextSlot | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return (batch, tokens, width), as diffusers' processor does for the slot's context."""
        slot = encoder_hidden_states
        if not isinstance(slot, ContextSlot) or getattr(attn, "fused_projections", False):
            context = slot.context if isinstance(slot, ContextSlot) else slot
            plain: Tensor = super().__call__(attn, hidden_states, context, attention_mask, rotary_emb)
            return plain
        query = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))
        text, image = slot.keys_and_values(attn)
        out = self._attend(query, *text)
        if image is not None:
            out = out + self._attend(query, *image)
        for layer in attn.to_out:
            out = layer(out)
        return out

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out: Tensor = dispatch_attention_fn(query, key, value, backend=self._attention_backend)
        return out.flatten(2, 3).type_as(query)


def kept(memo: ClipMemo | None, name: str, make: Callable[[], T]) -> T:
    """Return what a memo has of this name, made now where it has none or there is no memo."""
    return make() if memo is None else memo.keep(name, make)


def slots_for(memo: ClipMemo | None, name: str, context: Tensor, count: int) -> Sequence[Tensor | ContextSlot]:
    """Return one context per block: the same tensor, or with a memo a slot each."""
    if memo is None:
        return [context] * count
    slots: list[Tensor | ContextSlot] = memo.keep(name, lambda: [ContextSlot(context) for _ in range(count)])
    return slots


def _by_head(attn: WanAttention, key: Tensor, value: Tensor) -> _Pair:
    return key.unflatten(2, (attn.heads, -1)), value.unflatten(2, (attn.heads, -1))
