"""The denoiser: a Wan image-to-video transformer with LongVie 2's dense and sparse control branches and its history.

In: noisy latents with their image condition, control latents, text and image features, history latents. Out: the flow.
Laws:
- Base tokens are history frames, then the clip's frames, numbered as ONE sequence of positions. History tokens pass
  through every block, receive no control, and are dropped before the head.
- The control branches number the clip's own frames from 0, and never see the latents or the history: what they say
  depends on (controls, timestep, text, image) alone. A layer's features are made when they are needed, and not kept.
- With a `PassMemo`, what no step changes is computed by a clip's first pass alone; the numbers are the same.
- Module names are diffusers' for the base, the released checkpoint's for the control linears.

Source: LongVie 2 (arXiv 2512.13604), section 3; the released weights' own computation where the paper is silent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.normalization import FP32LayerNorm
from diffusers.models.transformers.transformer_wan import (
    WanRotaryPosEmbed,
    WanTimeTextImageEmbedding,
    WanTransformerBlock,
)
from torch import Tensor, nn

from bridge.errors import InvalidValue, ShapeMismatch

from .memo import TEXT_TOKENS, ContextAttnProcessor, ContextSlot, PassMemo, kept, slots_for
from .shares import join_shares, share_of
from .timesteps import SinusoidalTimesteps, flow_of_clean

__all__ = ["TEXT_TOKENS", "LongVie2Transformer3DModel"]

_PREDICTION_TYPES: Final = ("flow_prediction", "sample")


class LongVie2Transformer3DModel(ModelMixin, ConfigMixin, PeftAdapterMixin, CacheMixin, AttentionMixin):  # type: ignore[misc]
    """LongVie 2's transformer at any size; the defaults are the real 14 B base with 2.6 B of control branches.

    Args:
        patch_size: latent frames, rows and columns per token.
        num_attention_heads, attention_head_dim: of the base; their product is its width.
        in_channels: 2 * z + 4: noisy latents (z), mask (4), condition latents (z).
        out_channels: z, the latent channels.
        text_dim, image_dim: of the text and image features.
        freq_dim: of the time embedding's sinusoid.
        ffn_dim, num_layers: of the base.
        cross_attn_norm, qk_norm, eps: as in diffusers' Wan transformer.
        rope_max_seq_len: largest number of frames, rows or columns of tokens.
        control_num_layers, control_num_attention_heads, control_ffn_dim: of each control branch; the head size is
            the base's.
        prediction_type: what the last layer says: the flow, or the clean latents ("sample"), of which `forward` makes
            the flow. Both have diffusers' names.
    """

    _supports_gradient_checkpointing = True
    _skip_layerwise_casting_patterns: ClassVar[list[str]] = ["patch_embedding", "condition_embedder", "norm"]
    _no_split_modules: ClassVar[list[str]] = ["WanTransformerBlock"]
    _keep_in_fp32_modules: ClassVar[list[str]] = [
        "rope",
        "time_embedder",
        "scale_shift_table",
        "norm1",
        "norm2",
        "norm3",
    ]
    _repeated_blocks: ClassVar[list[str]] = ["WanTransformerBlock"]

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        num_attention_heads: int = 40,
        attention_head_dim: int = 128,
        in_channels: int = 36,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 13824,
        num_layers: int = 40,
        cross_attn_norm: bool = True,
        qk_norm: str = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int = 1280,
        rope_max_seq_len: int = 1024,
        control_num_layers: int = 12,
        control_num_attention_heads: int = 20,
        control_ffn_dim: int = 6912,
        prediction_type: str = "flow_prediction",
    ) -> None:
        super().__init__()
        if in_channels != 2 * out_channels + 4:
            raise InvalidValue(
                f"must be 2 * out_channels + 4 = {2 * out_channels + 4}",
                field="in_channels",
                value=in_channels,
                remedy="The input is noisy latents, four mask channels, condition latents.",
            )
        if prediction_type not in _PREDICTION_TYPES:
            raise InvalidValue(
                "is not known", field="prediction_type", value=prediction_type, remedy=" or ".join(_PREDICTION_TYPES)
            )
        if control_num_layers > num_layers:
            raise InvalidValue(
                f"must be at most num_layers = {num_layers}",
                field="control_num_layers",
                value=control_num_layers,
                remedy="Every control layer feeds the base layer of its number.",
            )
        width = num_attention_heads * attention_head_dim
        control_width = control_num_attention_heads * attention_head_dim

        self.rope = WanRotaryPosEmbed(attention_head_dim, patch_size, rope_max_seq_len)
        self.patch_embedding = nn.Conv3d(in_channels, width, kernel_size=patch_size, stride=patch_size)
        self.condition_embedder = WanTimeTextImageEmbedding(
            dim=width,
            time_freq_dim=freq_dim,
            time_proj_dim=width * 6,
            text_embed_dim=text_dim,
            image_embed_dim=image_dim,
        )
        self.condition_embedder.timesteps_proj = SinusoidalTimesteps(freq_dim)

        def stack(layers: int, dim: int, ffn: int, heads: int) -> nn.ModuleList:
            blocks = (WanTransformerBlock(dim, ffn, heads, qk_norm, cross_attn_norm, eps, dim) for _ in range(layers))
            return nn.ModuleList(blocks)

        self.blocks = stack(num_layers, width, ffn_dim, num_attention_heads)
        self.norm_out = FP32LayerNorm(width, eps, elementwise_affine=False)
        self.proj_out = nn.Linear(width, out_channels * math.prod(patch_size))
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, width) / width**0.5)

        self.control_rope = WanRotaryPosEmbed(attention_head_dim, patch_size, rope_max_seq_len)
        self.control_initial_combine_linear_dense = nn.Linear(width, control_width)
        self.control_initial_combine_linear_sparse = nn.Linear(width, control_width)
        self.control_text_linear = nn.Linear(width, control_width)
        self.control_t_mod = nn.Linear(width, control_width)
        control = (control_num_layers, control_width, control_ffn_dim, control_num_attention_heads)
        self.control_blocks_dense = stack(*control)
        self.control_blocks_sparse = stack(*control)
        self.control_combine_linears = nn.ModuleList(nn.Linear(control_width, width) for _ in range(control_num_layers))
        self.gradient_checkpointing = False
        for block in (*self.blocks, *self.control_blocks_dense, *self.control_blocks_sparse):
            block.attn2.set_processor(ContextAttnProcessor())

    @torch.no_grad()
    def zero_control(self, *, initial: bool = True) -> None:
        """Make the control branches say nothing, as training begins: zero the fusion linears.

        Args:
            initial: zero the two linears at the branches' entrances as well (the reference's choice).
        """
        linears = list(self.control_combine_linears)
        if initial:
            linears += [self.control_initial_combine_linear_dense, self.control_initial_combine_linear_sparse]
        for linear in linears:
            for parameter in linear.parameters():
                parameter.zero_()

    def control_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the control branches own, in state-dict order."""
        return [parameter for name, parameter in self.named_parameters() if name.startswith("control_")]

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_image: Tensor,
        dense: Tensor,
        sparse: Tensor,
        history: Tensor | None = None,
        *,
        dense_scale: Tensor | None = None,
        memo: PassMemo | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """Return the flow at a timestep.

        Args:
            hidden_states: (batch, 2z + 4, frames, h, w): noisy latents, mask, image condition.
            timestep: (batch,), 1000 * sigma.
            encoder_hidden_states: (batch, 512, text_dim), zero past the prompt. Where all else has a batch of 1, it is
                repeated for each of these.
            encoder_hidden_states_image: (batch, image tokens, image_dim).
            dense, sparse: (batch, 2z + 4, frames, h, w): control latents, mask, latents of the control's first frame.
            history: (batch, z, history frames, h, w) latents, or None.
            dense_scale: (batch,) factor on the dense branch's tokens; None is 1 (training keeps dense from dominating).
            memo: of this clip and prompt, for passes without gradients: all but hidden_states and timestep, and the
                number of frames, must then be what they were at its first pass.
            return_dict: False for a plain tuple.

        Returns:
            sample: (batch, z, frames, h, w).

        Raises:
            ShapeMismatch: not 512 text tokens, or controls or history of another size than the latents.
        """
        self._check(hidden_states, encoder_hidden_states, dense, sparse, history)
        temb, time_mod = self._embed_time(timestep, encoder_hidden_states.dtype)
        context = kept(memo, "context", lambda: self._embed_context(encoder_hidden_states, encoder_hidden_states_image))
        features = self._run_control(dense, sparse, time_mod, context, dense_scale, memo)
        clip = None if memo is None else memo.clip
        prompts = context.shape[0]
        tokens = _repeated(self._tokens(hidden_states), prompts)
        past = 0
        if history is not None:
            history_tokens = kept(clip, "history", lambda: self._tokens(self._history_input(history)))
            past = history_tokens.shape[1]
            tokens = torch.cat([_repeated(history_tokens, prompts), tokens], dim=1)
        history_frames = 0 if history is None else history.shape[2]
        rotary = kept(clip, "rotary", lambda: self._positions(hidden_states, history_frames))

        slots = slots_for(memo, "base", context, len(self.blocks))
        for i, (block, of_block) in enumerate(zip(self.blocks, slots, strict=True)):
            tokens = self._run_block(block, tokens, of_block, time_mod, rotary)
            if i < len(self.control_combine_linears):
                fused = self.control_combine_linears[i](next(features))
                tokens = tokens + fused if past == 0 else torch.cat([tokens[:, :past], tokens[:, past:] + fused], dim=1)

        sample = self._head(join_shares(tokens[:, past:], self._parallel_config), temb, hidden_states.shape)
        if self.config.prediction_type == "sample":
            sample = flow_of_clean(sample, hidden_states, timestep)
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    def _embed_time(self, timestep: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return time embedding (batch, width) and modulation (batch, 6, width)."""
        embedder = self.condition_embedder
        waves = embedder.timesteps_proj(timestep)
        weights = next(embedder.time_embedder.parameters()).dtype
        # Quantized weights take what they are given.
        waves = waves.to(weights) if weights.is_floating_point else waves
        temb: Tensor = embedder.time_embedder(waves).to(dtype)
        return temb, embedder.time_proj(embedder.act_fn(temb)).unflatten(1, (6, -1))

    def _embed_context(self, text: Tensor, image: Tensor) -> Tensor:
        """Return image, then text, (batch, tokens, width)."""
        embedder = self.condition_embedder
        image = embedder.image_embedder(image).expand(text.shape[0], -1, -1)
        return torch.cat([image, embedder.text_embedder(text)], dim=1)

    def _run_control(
        self,
        dense: Tensor,
        sparse: Tensor,
        time_mod: Tensor,
        context: Tensor,
        dense_scale: Tensor | None,
        memo: PassMemo | None,
    ) -> Iterator[Tensor]:
        """Yield a layer's features when they are asked for: all of them at once take a gigabyte of the real model's."""
        clip = None if memo is None else memo.clip
        rotary = kept(clip, "control rotary", lambda: self._control_positions(dense))
        time_mod = self.control_t_mod(time_mod)
        context = kept(memo, "control context", lambda: self.control_text_linear(context))
        # The branches look through the BASE model's patch embedding.
        x_dense = kept(clip, "dense", lambda: self._entrance("dense", dense))
        x_sparse = kept(clip, "sparse", lambda: self._entrance("sparse", sparse))
        if dense_scale is not None:
            x_dense = x_dense * dense_scale.to(x_dense.dtype)[:, None, None]
        x_dense, x_sparse = (_repeated(tokens, context.shape[0]) for tokens in (x_dense, x_sparse))
        blocks = zip(
            self.control_blocks_dense,
            self.control_blocks_sparse,
            slots_for(memo, "dense blocks", context, len(self.control_blocks_dense)),
            slots_for(memo, "sparse blocks", context, len(self.control_blocks_sparse)),
            strict=True,
        )
        for dense_block, sparse_block, of_dense, of_sparse in blocks:
            x_dense = self._run_block(dense_block, x_dense, of_dense, time_mod, rotary)
            x_sparse = self._run_block(sparse_block, x_sparse, of_sparse, time_mod, rotary)
            yield x_dense + x_sparse

    def _entrance(self, name: str, control: Tensor) -> Tensor:
        """A control's tokens, (batch, tokens, control width)."""
        tokens: Tensor = getattr(self, f"control_initial_combine_linear_{name}")(self._tokens(control))
        return tokens

    def _positions(self, latents: Tensor, history_frames: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines, (1, tokens, 1, head size) each, of the history's tokens and the clip's as one sequence."""
        frames, rows, columns = latents.shape[2:]
        angles = self.rope(latents[:1, :1, :1].expand(1, 1, history_frames + frames, rows, columns))
        if self._parallel_config is None:
            return angles  # type: ignore[no-any-return]
        past = angles[0].shape[1] * history_frames // (history_frames + frames)
        parts = (tuple(share_of(part, self._parallel_config) for part in (a[:, :past], a[:, past:])) for a in angles)
        cos, sin = (torch.cat(pair, dim=1) for pair in parts)
        return cos, sin

    def _control_positions(self, control: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = self.control_rope(control)
        return share_of(cos, self._parallel_config), share_of(sin, self._parallel_config)

    def _run_block(
        self,
        block: nn.Module,
        tokens: Tensor,
        context: Tensor | ContextSlot,
        time_mod: Tensor,
        rotary: tuple[Tensor, Tensor],
    ) -> Tensor:
        inputs = (tokens, context, time_mod, rotary)
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            out: Tensor = self._gradient_checkpointing_func(block, *inputs)
        else:
            out = block(*inputs)
        return out

    def _tokens(self, latents: Tensor) -> Tensor:
        """(batch, channels, frames, h, w) -> this process's (batch, tokens, width), in frame, row, column order."""
        patches: Tensor = self.patch_embedding(latents)
        return share_of(patches.flatten(2).transpose(1, 2).contiguous(), self._parallel_config)

    def _history_input(self, history: Tensor) -> Tensor:
        """Put history latents into the condition slot; the noise and mask slots hold ones."""
        ones = history.new_ones(history.shape[0], history.shape[1] + 4, *history.shape[2:])
        return torch.cat([ones, history], dim=1)

    def _head(self, tokens: Tensor, temb: Tensor, shape: torch.Size) -> Tensor:
        """(batch, tokens, width) -> (batch, z, frames, h, w)."""
        shift, scale = (self.scale_shift_table.to(temb.device) + temb[:, None]).chunk(2, dim=1)
        tokens = (self.norm_out(tokens.float()) * (1 + scale) + shift).type_as(tokens)
        patches = self.proj_out(tokens)
        p_t, p_h, p_w = self.config.patch_size
        frames, rows, columns = shape[2] // p_t, shape[3] // p_h, shape[4] // p_w
        patches = patches.reshape(-1, frames, rows, columns, p_t, p_h, p_w, self.config.out_channels)
        patches = patches.permute(0, 7, 1, 4, 2, 5, 3, 6)  # batch, z, frame, p_t, row, p_h, column, p_w
        out: Tensor = patches.flatten(6, 7).flatten(4, 5).flatten(2, 3)
        return out

    def _check(self, latents: Tensor, text: Tensor, dense: Tensor, sparse: Tensor, history: Tensor | None) -> None:
        if text.shape[1] != TEXT_TOKENS:
            raise ShapeMismatch(
                f"must hold {TEXT_TOKENS} tokens",
                field="encoder_hidden_states",
                value=tuple(text.shape),
                remedy="Pad the text features with zeros.",
            )
        for name, control in (("dense", dense), ("sparse", sparse)):
            if control.shape != latents.shape:
                _raise_size(name, control, latents.shape)
        z = self.config.out_channels
        want: tuple[Any, ...] = (latents.shape[0], z, *latents.shape[3:])
        if history is not None and (*history.shape[:2], *history.shape[3:]) != want:
            _raise_size("history", history, (*want[:2], "frames", *want[2:]))


def _repeated(tokens: Tensor, prompts: int) -> Tensor:
    """(1 or prompts, tokens, width) -> (prompts, tokens, width), laid out as what blocks return: compiled code asks."""
    return tokens.expand(prompts, -1, -1).contiguous()


def _raise_size(field: str, tensor: Tensor, want: Sequence[Any]) -> None:
    raise ShapeMismatch(
        f"must be {tuple(want)}", field=field, value=tuple(tensor.shape), remedy="Encode it for the latents' size."
    )
