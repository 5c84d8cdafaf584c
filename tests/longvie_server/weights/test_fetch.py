"""Fetching, against a Hub on this machine: said before, resumed after, nothing half-written used."""

from __future__ import annotations

import random
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub import LocalHub
from published import longvie_file

from bridge.errors import ConnectFailed, InvalidValue
from longvie_server.weights import check_model, convert, fetch, plan_fetch
from longvie_server.weights.fetch import BASE, LONGVIE

Publish = Callable[..., Path]


@pytest.fixture
def hub(publish: Publish) -> Iterator[LocalHub]:
    published = publish()
    # What is published besides, and is not ours to fetch.
    (published / "base" / "README.md").write_text("about")
    with LocalHub({LONGVIE.repo_id: published / "longvie", BASE.repo_id: published / "base"}) as served:
        yield served


def test_what_is_fetched_converts_into_a_whole_model(hub: LocalHub, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    plan = plan_fetch(folder, endpoint=hub.url)
    assert plan.licences == {LONGVIE.repo_id: "apache-2.0", BASE.repo_id: "apache-2.0"}
    assert plan.left == plan.size == sum(file.size for file in plan.files)
    assert plan.needed > plan.left
    assert not folder.exists()

    announced = []
    fetch(plan, endpoint=hub.url, on_file=lambda file, number, count: announced.append((number, count)))
    assert announced == [(n, len(plan.files)) for n in range(1, len(plan.files) + 1)]
    assert not (folder / "base" / "README.md").exists()
    assert plan_fetch(folder, endpoint=hub.url).left == 0

    out = convert(folder / BASE.folder, folder / LONGVIE.folder, tmp_path / "model")
    assert {check.status for check in check_model(out)} == {"ok"}


def test_what_is_there_is_not_fetched_again(hub: LocalHub, tmp_path: Path) -> None:
    plan = plan_fetch(tmp_path / "downloads", endpoint=hub.url)
    fetch(plan, endpoint=hub.url)
    again = []
    fetch(plan, endpoint=hub.url, on_file=lambda file, number, count: again.append(file.name))
    assert again == []


def test_an_interrupted_fetch_goes_on_in_the_middle_of_the_file(hub: LocalHub, tmp_path: Path) -> None:
    # The Hub's client writes pieces of 10 MB.
    served = longvie_file(hub.repositories[LONGVIE.repo_id].parent, "control")
    served.write_bytes(random.Random(0).randbytes(25_000_000))
    plan = plan_fetch(tmp_path / "downloads", (LONGVIE,), endpoint=hub.url)
    control = plan.files[0]
    hub.cut_after = 12_000_000
    with pytest.raises(ConnectFailed, match="same command again"):
        fetch(plan, endpoint=hub.url)
    assert not control.path.exists()

    hub.cut_after, hub.out_of_order = None, False
    hub.ranges.clear()
    fetch(plan, endpoint=hub.url)
    assert [asked for asked in hub.ranges if not asked.startswith("bytes=0-")] != []
    assert control.path.read_bytes() == served.read_bytes()


def test_a_file_that_comes_damaged_is_not_kept(hub: LocalHub, tmp_path: Path) -> None:
    plan = plan_fetch(tmp_path / "downloads", (LONGVIE,), endpoint=hub.url)
    served = longvie_file(hub.repositories[LONGVIE.repo_id].parent, "dit")
    whole = served.read_bytes()
    served.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InvalidValue, match="came damaged"):
        fetch(plan, endpoint=hub.url)
    assert [path.name for path in (tmp_path / "downloads" / "longvie").iterdir()] == ["control.safetensors"]
    served.write_bytes(whole)
    fetch(plan, endpoint=hub.url)
    assert (tmp_path / "downloads" / "longvie" / "dit.safetensors").read_bytes() == whole


def test_a_repository_that_is_not_there_is_named(hub: LocalHub, tmp_path: Path) -> None:
    del hub.repositories[BASE.repo_id]
    with pytest.raises(InvalidValue, match=BASE.repo_id):
        plan_fetch(tmp_path, endpoint=hub.url)


def test_a_repository_without_the_files_is_refused_before_anything_is_fetched(hub: LocalHub, tmp_path: Path) -> None:
    longvie_file(hub.repositories[LONGVIE.repo_id].parent, "dit").unlink()
    with pytest.raises(InvalidValue, match=r"has no dit\.safetensors"):
        plan_fetch(tmp_path / "downloads", endpoint=hub.url)


def test_a_hub_that_cannot_be_reached_is_a_matter_of_the_network(tmp_path: Path) -> None:
    with LocalHub({}) as gone:
        url = gone.url
    with pytest.raises(ConnectFailed, match="Check the network"):
        plan_fetch(tmp_path, endpoint=url)


def test_a_full_disk_is_noticed_before_the_first_file(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 1000))
    plan = plan_fetch(tmp_path / "downloads", endpoint=hub.url)
    with pytest.raises(InvalidValue, match=r"0\.0 GB free"):
        fetch(plan, endpoint=hub.url)
    assert not (tmp_path / "downloads").exists()
