"""The tiny decoder: the published layout, the same pixels in pieces of any size, and whole clips made with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from miniature import MICRO
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bridge.errors import InvalidValue
from longvie_server.world_model.interface import ControlClip, StepFrames, WorldModel, new_state
from longvie_server.world_model.longvie2 import LONGVIE2_14B, TINY, LongVie2WorldModel, build
from longvie_server.world_model.longvie2.checkpoint import make_ready, save_checkpoint
from longvie_server.world_model.longvie2.configs import build_vae
from longvie_server.world_model.longvie2.framewise_vae import Memory
from longvie_server.world_model.longvie2.tiny_decoder import (
    TINY_DECODER_ENVIRONMENT,
    MemoryBlock,
    TinyDecoder,
    load_tiny_decoder,
    tiny_decoder_for,
)
from longvie_server.world_model.longvie2.vae import decode_chunks
from longvie_server.world_model.options import RunOptions
from longvie_server.world_model.registry import load_model


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of `taew2_1`'s decoder, as its file has them."""
    shapes: dict[str, tuple[int, ...]] = {"decoder.1.weight": (256, 16, 3, 3), "decoder.1.bias": (256,)}
    for places, width in (((3, 4, 5), 256), ((9, 10, 11), 128), ((15, 16, 17), 64)):
        for place in places:
            for conv in (0, 2, 4):
                seen = 2 * width if conv == 0 else width
                shapes[f"decoder.{place}.conv.{conv}.weight"] = (width, seen, 3, 3)
                shapes[f"decoder.{place}.conv.{conv}.bias"] = (width,)
    return shapes | {
        "decoder.7.conv.weight": (256, 256, 1, 1),
        "decoder.8.weight": (128, 256, 3, 3),
        "decoder.13.conv.weight": (256, 128, 1, 1),
        "decoder.14.weight": (64, 128, 3, 3),
        "decoder.19.conv.weight": (128, 64, 1, 1),
        "decoder.20.weight": (64, 64, 3, 3),
        "decoder.22.weight": (3, 64, 3, 3),
        "decoder.22.bias": (3,),
    }


def published_weights(seed: int = 0) -> dict[str, Tensor]:
    """Random ones, in 16 bits as they are published, so large that pixels are neither all black nor all white."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in published_shapes().items():
        scale = 0.1 if len(shape) == 1 else (1.5 / (shape[1] * shape[2] * shape[3])) ** 0.5
        weights[name] = (scale * torch.randn(shape, generator=generator)).half()
    weights["decoder.22.bias"] += 0.5
    return weights


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "taew2_1.safetensors"
    # The other half, which is not read.
    encoder = {"encoder.0.weight": torch.zeros(64, 3, 3, 3, dtype=torch.float16)}
    save_file({**encoder, **published_weights()}, path)
    return path


@pytest.fixture(scope="module")
def decoder(file: Path) -> TinyDecoder:
    """In 64 bits, in which no two orders of the same sums are far apart."""
    return load_tiny_decoder(file).double().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def latents() -> Tensor:
    return 2 * torch.randn(1, 16, 5, 3, 4, generator=torch.Generator().manual_seed(1)).double()


def in_published_order(weights: dict[str, Tensor], latents: Tensor) -> Tensor:
    """The network frame by frame, layer after layer of the published list: (frames, 3, rows, columns)."""
    w = {name: weight.double() for name, weight in weights.items()}

    def conv(x: Tensor, name: str) -> Tensor:
        weight = w[f"{name}.weight"]
        return F.conv2d(x, weight, w.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    frames = [F.relu(conv(torch.tanh(frame / 3) * 3, "decoder.1")) for frame in latents.transpose(1, 2)[0].split(1)]
    for first, grows in ((3, 1), (9, 2), (15, 2)):
        for place in range(first, first + 3):
            before, made = torch.zeros_like(frames[0]), []
            for frame in frames:
                x = torch.cat([frame, before], dim=1)
                for number in (0, 2, 4):
                    x = conv(x, f"decoder.{place}.conv.{number}")
                    x = x if number == 4 else F.relu(x)
                made.append(F.relu(x + frame))
                before = frame
            frames = made
        enlarged = [F.interpolate(frame, scale_factor=2, mode="nearest") for frame in frames]
        grown = [part for frame in enlarged for part in conv(frame, f"decoder.{first + 4}.conv").chunk(grows, dim=1)]
        frames = [conv(frame, f"decoder.{first + 5}") for frame in grown]
    return torch.cat([conv(F.relu(frame), "decoder.22") for frame in frames]).clamp(0, 1)[3:]


def test_a_memory_block_by_hand() -> None:
    block = MemoryBlock(1)
    state = {name: torch.zeros_like(weight) for name, weight in block.state_dict().items()}
    state["conv.0.weight"][0, :, 1, 1] = torch.tensor([1.0, 10.0])  # the frame, then the one before it
    state["conv.0.bias"][0] = 0.5
    state["conv.2.weight"][0, 0, 1, 1] = 2.0
    state["conv.4.weight"][0, 0, 1, 1] = -0.25
    state["conv.4.bias"][0] = 1.0
    block.load_state_dict(state)
    memory: Memory = {}
    with torch.no_grad():
        out = block(torch.tensor([2.0, -1.0]).view(1, 2, 1, 1, 1), memory)
        later = block(torch.tensor([4.0]).view(1, 1, 1, 1, 1), memory)
    # 2: relu(2 + 0 + 0.5) = 2.5, twice that 5, 1 - 5 / 4 = -0.25, and 2 - 0.25.
    # -1: relu(-1 + 20 + 0.5) = 19.5, 39, 1 - 9.75, and -1 - 8.75, which is below zero.
    assert out.flatten().tolist() == [1.75, 0.0]
    # 4: relu(4 - 10 + 0.5) = 0, 0, 1, and 4 + 1.
    assert later.item() == 5.0
    assert memory[block].item() == 4.0


def test_the_file_loads_as_it_is_published(file: Path, decoder: TinyDecoder) -> None:
    state = decoder.state_dict()
    assert {name: tuple(weight.shape) for name, weight in state.items()} == published_shapes()
    for name, weight in published_weights().items():
        assert torch.equal(state[name], weight.double()), name


def test_it_computes_what_the_published_list_of_layers_does(decoder: TinyDecoder, latents: Tensor) -> None:
    with torch.no_grad():
        (video,) = decoder.decode_stream(latents, chunk=5)
        wanted = in_published_order(published_weights(), latents)
    assert video.shape == (1, 3, 17, 24, 32)
    assert wanted.std() > 0.1
    torch.testing.assert_close((video[0].transpose(0, 1) + 1) / 2, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_pieces_equal_the_whole_and_two_streams_take_turns(decoder: TinyDecoder, latents: Tensor, chunk: int) -> None:
    (whole,) = decoder.decode_stream(latents, chunk=5)
    other = decoder.decode_stream(-latents, chunk=1)
    pieces = []
    for piece in decoder.decode_stream(latents, chunk=chunk):
        pieces.append(piece)
        next(other, None)
    assert [piece.shape[2] for piece in pieces][:2] == [4 * chunk - 3, 4 * min(chunk, 5 - chunk)]
    torch.testing.assert_close(torch.cat(pieces, dim=2), whole, rtol=0, atol=1e-10)


def test_a_frame_knows_nothing_of_later_latents(decoder: TinyDecoder, latents: Tensor) -> None:
    (whole,), (begun,) = (decoder.decode_stream(some, chunk=5) for some in (latents, latents[:, :, :3]))
    torch.testing.assert_close(begun, whole[:, :, :9], rtol=0, atol=1e-10)


def test_it_takes_a_25th_of_the_operations_and_its_first_frames_leave_early() -> None:
    """A clip of the real size, counted on shapes."""
    with torch.device("meta"), torch.no_grad():
        tiny, full, latents = TinyDecoder(), build_vae(LONGVIE2_14B.vae), torch.zeros(1, 16, 21, 44, 80)
        with FlopCounterMode(display=False) as counter:
            # As many at a time as a world model takes.
            stream = tiny.decode_stream(latents, chunk=2)
            frames, first = next(stream).shape[2], counter.get_total_flops()
            frames += sum(piece.shape[2] for piece in stream)
        total = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            assert frames == sum(piece.shape[2] for piece in decode_chunks(full, latents, 1)) == 81
    assert first / total == pytest.approx(0.088, abs=0.001)
    assert total == pytest.approx(6.19e12, rel=0.01)
    assert counter.get_total_flops() / total == pytest.approx(25, abs=0.5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"decoder.9.conv.2.bias": None}, "decoder.9.conv.2.bias is missing"),
        ({"decoder.23.weight": torch.zeros(1)}, "decoder.23.weight is not known"),
        ({"decoder.22.weight": torch.zeros(12, 64, 3, 3)}, r"decoder.22.weight is \(12, 64, 3, 3\) and not \(3, 64,"),
    ],
)
def test_another_layout_is_refused_by_the_name_of_the_weight(
    change: dict[str, Tensor | None], told: str, tmp_path: Path
) -> None:
    changed = {**published_weights(), **change}
    save_file({name: weight for name, weight in changed.items() if weight is not None}, tmp_path / "other.safetensors")
    with pytest.raises(InvalidValue, match=told) as caught:
        load_tiny_decoder(tmp_path / "other.safetensors")
    assert (caught.value.field, "--decoder full" in caught.value.remedy) == ("decoder", True)


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    vae = build_vae(MICRO.vae)
    (tmp_path / "taew2_1.pth").write_bytes(b"PK and so on, a pickle")
    with pytest.raises(InvalidValue, match="cannot be read as safetensors"):
        tiny_decoder_for(vae, environ={TINY_DECODER_ENVIRONMENT: str(tmp_path / "taew2_1.pth")})
    with pytest.raises(InvalidValue, match="there is no such file") as caught:
        tiny_decoder_for(vae, environ={TINY_DECODER_ENVIRONMENT: str(tmp_path / "nothing")})
    assert (caught.value.field, "tiny decoder" in caught.value.remedy) == (TINY_DECODER_ENVIRONMENT, True)


def test_a_model_of_other_latents_is_refused() -> None:
    with pytest.raises(InvalidValue, match="96 channels of 16 pixels, BlockAutoencoder") as caught:
        tiny_decoder_for(build_vae(TINY.vae), environ={})
    assert (caught.value.field, caught.value.remedy) == ("decoder", "Choose --decoder full for this model.")
    with pytest.raises(InvalidValue, match="is not known"):
        make_ready(build(MICRO, seed=0), torch.device("cpu"), RunOptions(decoder="small"))


def two_clips(model: WorldModel) -> list[list[np.ndarray]]:
    """The pieces of two clips that follow each other."""
    rng, size = np.random.default_rng(3), (MICRO.height, MICRO.width)
    state = new_state(model.spec, first_frame=rng.integers(0, 256, (*size, 3), np.uint8), prompt="a street", seed=7)
    controls = ControlClip(rng.integers(0, 256, (81, *size), np.uint8), rng.integers(0, 256, (81, *size, 3), np.uint8))
    clips: list[list[np.ndarray]] = []
    for _ in range(2):
        clips.append([])
        events = model.step(state, controls)
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                state = end.value
                break
            if isinstance(event, StepFrames):
                clips[-1].append(event.frames)
    return clips


def test_a_model_whose_frames_it_makes(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(build(MICRO, seed=0), tmp_path / "model")
    monkeypatch.setenv(TINY_DECODER_ENVIRONMENT, str(file))
    model, full = (
        load_model(str(tmp_path / "model"), device="cpu", options=RunOptions(decoder=name)) for name in ("tiny", "full")
    )
    assert (model.spec.numerics["decoder"], full.spec.numerics["decoder"]) == ("tiny", "full")
    clips, again, others = two_clips(model), two_clips(model), two_clips(full)
    for pieces, repeated, other in zip(clips, again, others, strict=True):
        assert [piece.shape for piece in pieces] == [piece.shape for piece in other]
        assert [len(piece) for piece in pieces][:2] == [5, 8]
        assert sum(map(len, pieces)) == 81
        assert all(np.array_equal(a, b) for a, b in zip(pieces, repeated, strict=True))
        assert not np.array_equal(np.concatenate(pieces), np.concatenate(other))


def test_random_weights_ask_for_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TINY_DECODER_ENVIRONMENT, "nowhere")
    pipeline = build(MICRO, seed=0)
    make_ready(pipeline, torch.device("cpu"), RunOptions(decoder="tiny"), random_weights=True)
    assert LongVie2WorldModel(pipeline, name="random").spec.numerics["decoder"] == "tiny"
