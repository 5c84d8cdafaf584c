"""What makes a training step cheap without changing what it computes: short prompts, and clips with frames left out.

Laws: `install` and `FrameSelection` add no weights and no names to a state dict. With every frame selected, the
transformer computes what it computes without them, to float32 rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor, nn

from ..world_model.longvie2.transformer import TEXT_TOKENS, LongVie2Transformer3DModel

__all__ = ["FrameSelection", "install"]


class FrameSelection:
    """Which latent frames of a clip a step sees; positions stay those of the whole clip.

    Frames of a clip cost alike and say much the same, so seeing a third of them three times as often is the better
    use of a CPU early in a training.
    """

    def __init__(self, transformer: LongVie2Transformer3DModel) -> None:
        self._base = _SelectedRope.around(transformer.rope)
        self._control = _SelectedRope.around(transformer.control_rope)
        transformer.rope, transformer.control_rope = self._base, self._control

    def choose(self, frames: Sequence[int], *, total: int, history: int) -> None:
        """See these of the clip's `total` latent frames from now on, after `history` latent frames."""
        self._base.frames = [*range(history), *(history + f for f in frames)]
        self._base.total = history + total
        self._control.frames, self._control.total = list(frames), total


class _SelectedRope(nn.Module):
    """A rotary embedding that numbers a whole clip and returns the selected frames of it."""

    def __init__(self, rope: nn.Module) -> None:
        super().__init__()
        self.rope = rope
        self.frames: list[int] = []
        self.total = 0

    @classmethod
    def around(cls, rope: nn.Module) -> _SelectedRope:
        """Return a selection around a rotary embedding; around one that is a selection already, that one."""
        return rope if isinstance(rope, cls) else cls(rope)

    def forward(self, like: Tensor) -> tuple[Tensor, Tensor]:
        whole = like[:1, :1, :1].expand(1, 1, self.total, *like.shape[3:])
        cos, sin = (t.unflatten(1, (self.total, -1))[:, self.frames].flatten(1, 2) for t in self.rope(whole))
        return cos, sin


def install(transformer: LongVie2Transformer3DModel) -> None:
    """Let attention treat the equal tokens past a prompt's end as one token of their number."""
    for module in transformer.modules():
        if isinstance(module, WanAttention):
            module.set_processor(PaddedTextAttnProcessor())


class PaddedTextAttnProcessor:
    """Wan attention that computes the padding of a prompt once.

    All text tokens past the prompt are one and the same vector; n equal keys weigh as one key with log n added to its
    score. The 512 tokens are most of what cross-attention costs at a tiny size.
    """

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        query = attn.norm_q(attn.to_q(hidden_states))
        if encoder_hidden_states is None:
            key, value = attn.norm_k(attn.to_k(hidden_states)), attn.to_v(hidden_states)
            if rotary_emb is not None:
                query, key = (_rotate(t, attn.heads, *rotary_emb) for t in (query, key))
            out = _attend(query, key, value, attn.heads, attention_mask)
        else:
            image = encoder_hidden_states[:, :-TEXT_TOKENS]
            text, scores = _merge_padding(encoder_hidden_states[:, -TEXT_TOKENS:])
            out = _attend(query, attn.norm_k(attn.to_k(text)), attn.to_v(text), attn.heads, scores)
            if attn.add_k_proj is not None:
                key, value = attn.norm_added_k(attn.add_k_proj(image)), attn.add_v_proj(image)
                out = out + _attend(query, key, value, attn.heads, None)
        result: Tensor = attn.to_out[0](out)
        return result


def _merge_padding(text: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens up to the first of the equal ones at the end, and the scores to add, (1, 1, 1, tokens)."""
    differs = (text != text[:, -1:]).any(dim=2).any(dim=0)
    kept = int(differs.nonzero().max()) + 2 if differs.any() else 1
    scores = text.new_zeros(1, 1, 1, kept)
    scores[..., -1] = math.log(text.shape[1] - kept + 1)
    return text[:, :kept], scores


def _rotate(tokens: Tensor, heads: int, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate (batch, tokens, width) in pairs within every head."""
    pairs = tokens.unflatten(2, (heads, -1, 2))
    even, odd = pairs[..., 0], pairs[..., 1]
    c, s = cos[..., 0::2], sin[..., 1::2]
    return torch.stack([even * c - odd * s, even * s + odd * c], dim=-1).flatten(2).type_as(tokens)


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int, scores: Tensor | None) -> Tensor:
    query, key, value = (t.unflatten(2, (heads, -1)).transpose(1, 2) for t in (query, key, value))
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=scores)
    return out.transpose(1, 2).flatten(2)
