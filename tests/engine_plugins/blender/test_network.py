"""A shot's session against a real server, without Blender: what is refused before a tick is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bridge.errors import InvalidValue
from engine_plugins.blender.longvie.frame_folder import FrameFolder
from engine_plugins.blender.longvie.network import ShotSession
from engine_plugins.blender.longvie.order import ServerAddress, ShotOrder
from engine_plugins.blender.longvie.sampling import Sampling
from longvie_server.drive.server_process import ServerProcess


def order(folder: Path, **more: Any) -> ShotOrder:
    first = folder / "first.png"
    Image.new("RGB", (160, 90), (1, 2, 3)).save(first)
    return ShotOrder(prompt="a wall", first_frame=first, sampling=Sampling(1, 9, 16.0), out=folder / "out", **more)


def test_an_unknown_quality_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"quality: unknown \(got best\)\. Use one of final, balanced, preview\."):
        order(tmp_path, quality="best")


@pytest.mark.slow
def test_a_server_of_another_quality_is_refused(tmp_path: Path) -> None:
    with ServerProcess("tiny", log=tmp_path / "log") as server:
        for quality, sentence in (
            ("preview", "quality: this server makes tiny in quality final (got preview). Choose final, or start the"),
            ("final", ""),
        ):
            wanted = order(tmp_path, quality=quality)
            session = ShotSession(ServerAddress(server.endpoint), wanted, FrameFolder(wanted.out), None)
            while session.model is None and not session.over:
                session.wait(30.0)
            assert str(session.error or "").startswith(sentence)
            assert (session.model is None) == bool(sentence)
            session.cancel()
            session.join(10.0)
