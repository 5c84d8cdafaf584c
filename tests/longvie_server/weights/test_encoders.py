"""The encoders' published files give transformers' classes the weights that Wan's own code would use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from published import original_image_encoder, original_text_encoder
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from bridge.errors import InvalidValue
from longvie_server.weights.encoders import read_image_encoder, read_text_encoder

Weights = dict[str, Tensor]


def text_features(weights: Weights, ids: Tensor, *, heads: int, layers: int) -> Tensor:
    """The original's arithmetic, for a few tokens: (tokens,) -> (tokens, width)."""

    def normed(x: Tensor, name: str) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weights[f"{name}.weight"]

    x = weights["token_embedding.weight"][ids]
    places = torch.arange(len(ids))
    later = places[None] - places[:, None]
    # Up to 7 places away each distance has a bucket of its own; what comes later, in the second half of the 32.
    buckets = later.abs() + 16 * (later > 0)
    for number in range(layers):
        block = f"blocks.{number}"
        y = normed(x, f"{block}.norm1")
        q, k, v = ((y @ weights[f"{block}.attn.{n}.weight"].T).unflatten(1, (heads, -1)).transpose(0, 1) for n in "qkv")
        bias = weights[f"{block}.pos_embedding.embedding.weight"][buckets].permute(2, 0, 1)
        attended = (torch.softmax(q @ k.transpose(1, 2) + bias, dim=-1) @ v).transpose(0, 1).flatten(1)
        x = x + attended @ weights[f"{block}.attn.o.weight"].T
        y = normed(x, f"{block}.norm2")
        gate = F.gelu(y @ weights[f"{block}.ffn.gate.0.weight"].T, approximate="tanh")
        x = x + (gate * (y @ weights[f"{block}.ffn.fc1.weight"].T)) @ weights[f"{block}.ffn.fc2.weight"].T
    return normed(x, "norm")


def image_features(weights: Weights, image: Tensor, *, layers: int) -> Tensor:
    """The original's arithmetic: (1, 3, side, side) -> what goes into the last layer, (1 + patches, width)."""
    given = {name.removeprefix("visual."): weight for name, weight in weights.items()}

    def normed(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], given[f"{name}.weight"], given[f"{name}.bias"])

    def through(x: Tensor, name: str) -> Tensor:
        return F.linear(x, given[f"{name}.weight"], given[f"{name}.bias"])

    side = given["patch_embedding.weight"].shape[-1]
    patches = F.conv2d(image, given["patch_embedding.weight"], stride=side)[0].flatten(1).T
    x = normed(torch.cat([given["cls_embedding"][0], patches]) + given["pos_embedding"][0], "pre_norm")
    for number in range(layers - 1):
        block = f"transformer.{number}"
        qkv = through(normed(x, f"{block}.norm1"), f"{block}.attn.to_qkv").unflatten(1, (3, -1, 80))
        q, k, v = qkv.permute(1, 2, 0, 3)
        attended = torch.softmax(q @ k.transpose(1, 2) / 80**0.5, dim=-1) @ v
        x = x + through(attended.transpose(0, 1).flatten(1), f"{block}.attn.proj")
        x = x + through(F.gelu(through(normed(x, f"{block}.norm2"), f"{block}.mlp.0")), f"{block}.mlp.2")
    return x


@torch.no_grad()
def test_the_text_encoder_says_what_the_original_says(tmp_path: Path) -> None:
    weights = original_text_encoder(width=16, heads=2, layers=2)
    torch.save(weights, tmp_path / "t5.pth")
    config, files = read_text_encoder(tmp_path / "t5.pth")
    model = UMT5EncoderModel(UMT5Config.from_dict(config)).eval()
    model.load_state_dict({**files, "encoder.embed_tokens.weight": files["shared.weight"]})
    ids = torch.tensor([5, 300, 7, 7, 42, 1])
    torch.testing.assert_close(
        model(ids[None]).last_hidden_state[0], text_features(weights, ids, heads=2, layers=2), rtol=1e-4, atol=1e-4
    )


@torch.no_grad()
def test_the_image_encoder_sees_what_the_original_sees(tmp_path: Path) -> None:
    weights = original_image_encoder(width=160, layers=3)
    torch.save(weights, tmp_path / "clip.pth")
    config, files = read_image_encoder(tmp_path / "clip.pth")
    assert (config["image_size"], config["patch_size"], config["num_attention_heads"]) == (32, 16, 2)
    model = CLIPVisionModel(CLIPVisionConfig.from_dict(config)).eval()
    prefix = next(iter(model.state_dict())).partition("embeddings.")[0]
    model.load_state_dict({f"{prefix}{name}": weight for name, weight in files.items()})
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    seen = model(image, output_hidden_states=True).hidden_states[-2][0]
    torch.testing.assert_close(seen, image_features(weights, image, layers=3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda w: w.update({"blocks.0.attn.rotary.weight": torch.zeros(1)}), "attn.rotary.weight, which is not of a"),
        (lambda w: w.pop("blocks.0.pos_embedding.embedding.weight"), "holds no UMT5 encoder"),
        (lambda w: w.clear(), "holds no UMT5 encoder"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, spoil, says: str) -> None:
    weights = original_text_encoder(width=16, heads=2, layers=1)
    spoil(weights)
    torch.save(weights, tmp_path / "t5.pth")
    with pytest.raises(InvalidValue, match=says) as caught:
        read_text_encoder(tmp_path / "t5.pth")
    assert "Wan published" in caught.value.remedy


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.pth"
    torch.save(original_image_encoder(width=160, layers=1), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InvalidValue, match="cannot be read as PyTorch weights"):
        read_image_encoder(path)
