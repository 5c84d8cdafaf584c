"""The fake paints what it was told, pixel by pixel."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from bridge.errors import InvalidValue, ShapeMismatch
from bridge.tick import WorldState
from longvie_server.world_model.fake import FakeWorldModel
from longvie_server.world_model.interface import ControlClip, StepEvent, StepFrames, StepProgress, WorldModel, new_state
from longvie_server.world_model.registry import LONGVIE2_ENVIRONMENT, load_model

HEIGHT, WIDTH = 6, 10


def make_controls(height: int = HEIGHT, width: int = WIDTH) -> ControlClip:
    rng = np.random.default_rng(3)
    return ControlClip(
        dense=rng.integers(0, 256, (81, height, width), np.uint8),
        sparse=rng.integers(0, 256, (81, height, width, 3), np.uint8),
    )


def make_state(model: WorldModel, prompt: str = "a road") -> WorldState:
    first = np.zeros((model.spec.height, model.spec.width, 3), np.uint8)
    return new_state(model.spec, first_frame=first, prompt=prompt, seed=1)


def test_every_pixel_is_what_it_was_told() -> None:
    model = FakeWorldModel(HEIGHT, WIDTH)
    controls = make_controls()
    state = make_state(model)
    states: list[WorldState] = []

    def listen() -> Generator[StepEvent, None, None]:
        states.append((yield from model.step(state, controls)))

    chunks = [event.frames for event in listen() if isinstance(event, StepFrames)]
    assert [len(chunk) for chunk in chunks] == [1] + [4] * 20
    frames = np.concatenate(chunks)
    assert np.array_equal(frames[..., 0], controls.dense)
    assert np.array_equal(frames[..., 1], controls.sparse.max(axis=3))
    assert (frames[..., 2] == zlib.crc32(b"a road") % 256).all()
    (after,) = states
    assert (after.clip, after.next_tick, after.shares_tick) == (1, 80, True)
    assert np.array_equal(after.frames, frames[-8:])
    # Black was its first frame; the grey is the dense control's.
    assert after.anchor is not None
    assert not after.anchor[..., :3].any()
    assert np.array_equal(after.anchor[..., 3], controls.dense[0])


def test_the_prompt_is_its_checksums_lowest_byte() -> None:
    # The check value of CRC-32 over "123456789" is 0xCBF43926.
    model = FakeWorldModel(HEIGHT, WIDTH)
    events = model.step(make_state(model, "123456789"), make_controls())
    assert {int(blue) for e in events if isinstance(e, StepFrames) for blue in e.frames[..., 2].flat} == {0x26}


def test_it_tells_of_every_stage() -> None:
    model = FakeWorldModel(HEIGHT, WIDTH, steps=3)
    events = [event for event in model.step(make_state(model), make_controls()) if isinstance(event, StepProgress)]
    told = [(event.stage, event.step, event.steps) for event in events]
    assert told[:6] == [("encode", 0, 1), ("encode", 1, 1), *(("denoise", step, 3) for step in range(4))]
    assert told[6:] == [("decode", done, 81) for done in (0, *range(1, 82, 4))]
    assert model.spec.steps == 3


def test_a_delay_is_spread_over_the_steps() -> None:
    slept: list[float] = []
    model = FakeWorldModel(HEIGHT, WIDTH, steps=4, delay_s=2.0, sleep=slept.append)
    list(model.step(make_state(model), make_controls()))
    assert slept == [0.5] * 4
    slept.clear()
    instant = FakeWorldModel(HEIGHT, WIDTH, sleep=slept.append)
    list(instant.step(make_state(instant), make_controls()))
    assert slept == []


def test_another_size_is_refused() -> None:
    model = FakeWorldModel(HEIGHT, WIDTH)
    other = FakeWorldModel(HEIGHT, WIDTH + 1)
    with pytest.raises(ShapeMismatch, match=r"state\.frames"):
        next(model.step(make_state(other), make_controls()))
    with pytest.raises(ShapeMismatch, match=r"controls\.dense"):
        next(model.step(make_state(model), make_controls(width=WIDTH + 1)))


@pytest.mark.parametrize("wrong", [{"height": 0}, {"width": 4097}, {"steps": 0}, {"delay_s": -1.0}])
def test_numbers_out_of_range_are_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidValue) as caught:
        FakeWorldModel(**wrong)
    assert [caught.value.field] == list(wrong)


def test_the_registry_knows_the_fake() -> None:
    usual, small, slow = load_model("fake"), load_model("fake:96x160"), load_model("fake:96x160,delay=2.5")
    assert (usual.spec.name, usual.spec.height, usual.spec.width) == ("fake", 352, 640)
    assert (small.spec.name, small.spec.height, small.spec.width) == ("fake:96x160", 96, 160)
    # The name says what a clip is made of, hence not how long that takes.
    assert slow.spec == small.spec


@pytest.mark.parametrize(
    "name", ["fake:96", "fake:x", "fake:96x160x3", "fake,delay=", "fake:-1x5", "fake:96x160,delay=-1"]
)
def test_a_misspelt_fake_is_told_how_to_be_written(name: str) -> None:
    with pytest.raises(InvalidValue, match="fake:96x160") as caught:
        load_model(name)
    assert caught.value.value == name


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(InvalidValue) as caught:
        load_model("huge")
    for known in ("fake", "tiny", "longvie2", "folder"):
        assert known in caught.value.remedy


def test_what_is_missing_is_told_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidValue, match="no such checkpoint folder"):
        load_model(str(tmp_path / "nowhere"))
    with pytest.raises(InvalidValue, match=LONGVIE2_ENVIRONMENT):
        load_model("longvie2", environ={})
    for name, environ in (("longvie2", {LONGVIE2_ENVIRONMENT: "no where"}), ("longvie2:no where", {})):
        with pytest.raises(InvalidValue, match="neither a folder nor a Hub id"):
            load_model(name, environ=environ)
    monkeypatch.setattr("longvie_server.world_model.registry.TINY_FOLDER", tmp_path / "tiny")
    with pytest.raises(InvalidValue, match="longvie train"):
        load_model("tiny")


def test_the_fake_starts_without_torch() -> None:
    code = (
        "import sys, longvie_server.worker; from longvie_server.world_model.registry import load_model; "
        "load_model('fake'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0
