from __future__ import annotations

import torch
import torch.nn.functional as F

from longvie_server.world_model.longvie2 import LongVie2Pipeline
from longvie_server.world_model.longvie2.encoders import clean_prompt, encode_image, encode_prompt


def test_prompts_are_cleaned() -> None:
    assert clean_prompt("  a &amp;amp; b\n\tc ") == "a & b c"
    assert clean_prompt("\u201cthe\u201d dog\u2019s") == '"the" dog\'s'
    assert clean_prompt("e\u0301") == "\u00e9"


@torch.no_grad()
def test_features_past_the_prompt_are_zero(micro: LongVie2Pipeline) -> None:
    features = encode_prompt(micro.tokenizer, micro.text_encoder, ["abc", "a longer one"])
    assert features.shape == (2, 512, 16)
    for row, tokens in zip(features, (4, 13), strict=True):  # bytes, and the end mark
        assert row[:tokens].abs().sum(1).gt(0).all()
        assert row[tokens:].eq(0).all()


@torch.no_grad()
def test_features_do_not_depend_on_the_other_prompts(micro: LongVie2Pipeline) -> None:
    both = encode_prompt(micro.tokenizer, micro.text_encoder, ["abc", "a longer one"])
    torch.testing.assert_close(both[:1], encode_prompt(micro.tokenizer, micro.text_encoder, "abc"))


@torch.no_grad()
def test_long_prompts_are_cut(micro: LongVie2Pipeline) -> None:
    features = encode_prompt(micro.tokenizer, micro.text_encoder, "x" * 2000)
    assert features.shape == (1, 512, 16)
    assert features.abs().sum(2).gt(0).all()


@torch.no_grad()
def test_images_are_squashed_without_antialiasing(micro: LongVie2Pipeline) -> None:
    image = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = encode_image(micro.image_encoder, image)
    assert features.shape == (1, 1 + 4, 16)
    square = F.interpolate(image, size=(32, 32), mode="bicubic", align_corners=False)
    smooth = F.interpolate(image, size=(32, 32), mode="bicubic", align_corners=False, antialias=True)
    torch.testing.assert_close(encode_image(micro.image_encoder, square), features)
    assert not torch.allclose(encode_image(micro.image_encoder, smooth), features, atol=1e-3)


@torch.no_grad()
def test_image_features_are_the_penultimate_layers(micro: LongVie2Pipeline) -> None:
    image = torch.zeros(1, 3, 32, 32)  # mid-grey: (0.5 - mean) / std behind the encoder's normalisation
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    pixels = ((0.5 - mean) / std).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    layers = micro.image_encoder(pixels, output_hidden_states=True).hidden_states
    features = encode_image(micro.image_encoder, image)
    torch.testing.assert_close(features, layers[-2])
    assert not torch.allclose(features, layers[-1], atol=1e-3)
