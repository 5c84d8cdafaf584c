"""A training's file: who keeps what while it is written, and files that are not this training's."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from diffusers.training_utils import EMAModel
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from bridge.errors import InvalidValue
from longvie_server.training.stages.state import TrainingState, saved_run

SIZE = 8


def state_of(folder: Path, layers: dict[str, Tensor]) -> TrainingState:
    """A training of these layers, one step in."""
    trained = {name: nn.Parameter(tensor) for name, tensor in layers.items()}
    optimizer = torch.optim.AdamW(trained.values())
    for parameter in trained.values():
        parameter.grad = torch.ones_like(parameter)
    ema = EMAModel(list(trained.values()), decay=0.5)
    optimizer.step()
    state = TrainingState(folder, trained, optimizer, ema, {"seed": 0})
    state.step = 1
    return state


@pytest.fixture
def group() -> Iterator[None]:
    """A group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_who_does_not_write_keeps_no_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = init_device_mesh("cpu", (1,))
    shared = {name: distribute_tensor(torch.rand(SIZE, SIZE), mesh, [Shard(0)]) for name in ("a", "b", "c")}
    state = state_of(tmp_path, shared)
    made: list[weakref.ref[Tensor]] = []
    whole = DTensor.full_tensor

    def counted(tensor: DTensor) -> Tensor:
        assert not any(one() is not None for one in made), "the tensor before is still kept"
        # Of its own memory, as where it was gathered.
        full = whole(tensor).clone()
        made.append(weakref.ref(full))
        return full

    monkeypatch.setattr(DTensor, "full_tensor", counted)
    state.save(write=False)
    # Weights, average and AdamW's two moments of each: the other processes wait for every one.
    assert len(made) == 4 * len(shared)
    assert saved_run(tmp_path) is None
    monkeypatch.undo()
    state.save(write=True)
    saved = saved_run(tmp_path)
    assert saved is not None
    assert (saved.step, saved.identity) == (1, {"seed": 0})


def test_who_has_all_weights_and_does_not_write_copies_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = state_of(tmp_path, {"a": torch.rand(SIZE, SIZE)})
    monkeypatch.setattr(Tensor, "to", lambda *given, **flags: pytest.fail("a tensor was copied"))
    state.save(write=False)
    assert saved_run(tmp_path) is None


def test_a_training_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    before = state_of(tmp_path, {"a": torch.rand(SIZE, SIZE)})
    before.save(write=True)
    after = state_of(tmp_path, {"a": torch.rand(SIZE, SIZE)})
    after.step = 0
    after.load()
    assert after.step == 1
    assert torch.equal(after.trained["a"], before.trained["a"])
    assert torch.equal(after.ema.shadow_params[0], before.ema.shadow_params[0])
    moments, kept = (of.optimizer.state[of.trained["a"]] for of in (after, before))
    assert set(moments) == set(kept)
    assert all(torch.equal(moments[key], kept[key]) for key in kept)


@pytest.mark.parametrize("layers", [{"a": (SIZE, SIZE + 1)}, {"a": (SIZE, SIZE), "b": (2, 2)}])
def test_another_model_s_file_is_named(tmp_path: Path, layers: dict[str, tuple[int, int]]) -> None:
    state_of(tmp_path, {"a": torch.rand(SIZE, SIZE)}).save(write=True)
    with pytest.raises(InvalidValue, match="another model's") as caught:
        state_of(tmp_path, {name: torch.rand(shape) for name, shape in layers.items()}).load()
    assert caught.value.value == str(tmp_path / "state.safetensors")
    assert caught.value.remedy


@pytest.mark.parametrize("metadata", [None, {"identity": "{}"}, {"identity": "no JSON", "run": "r"}])
def test_a_file_that_is_no_training_s_is_named(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "state.safetensors"
    save_file({"step": torch.tensor(1)}, path, metadata=metadata)
    with pytest.raises(InvalidValue, match="no training's") as caught:
        state_of(tmp_path, {"a": torch.rand(SIZE, SIZE)}).load()
    assert caught.value.value == str(path)


def test_a_cut_off_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    state = state_of(tmp_path, {"a": torch.rand(SIZE, SIZE)})
    state.save(write=True)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidValue, match="no training's"):
        state.load()
