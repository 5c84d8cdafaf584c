"""The shared memory block: one side writes, the other reads, nothing overlaps, no name stays."""

from __future__ import annotations

import errno
import os
import sys
from multiprocessing import resource_tracker

import numpy as np
import pytest
from worker_cases import HEIGHT, WIDTH, make_job, shared_blocks

from bridge.errors import ServerError
from longvie_server.worker.planes import SharedPlanes


def test_what_one_side_writes_the_other_reads() -> None:
    mine = SharedPlanes.create(HEIGHT, WIDTH)
    theirs = SharedPlanes.attach(mine.name, HEIGHT, WIDTH)
    mine.unlink()
    try:
        job = make_job()
        mine.write_geometry(job.geometry)
        image = job.state.image
        later = job.state.after_clip(np.stack([image + np.uint8(i) for i in range(81)]), image[..., 1] ^ np.uint8(255))
        mine.write_state(later)
        theirs.frames[...] = np.arange(81, dtype=np.uint8)[:, None, None, None]
        for name in ("depth_m", "track_uv", "track_depth_m", "track_drawn"):
            assert np.array_equal(getattr(theirs.geometry, name), getattr(job.geometry, name), equal_nan=True)
        assert later.anchor is not None
        assert np.array_equal(theirs.history, later.frames)
        assert np.array_equal(theirs.anchor, later.anchor)
        mine.write_state(job.state)
        assert np.array_equal(theirs.history[:1], job.state.frames)
        assert theirs.geometry.depth_m.shape == (81, HEIGHT, WIDTH)
        assert theirs.geometry.track_drawn.dtype == np.bool_
        copy = mine.copy_frames(5, 4)
        theirs.frames[...] = 0
        assert copy.shape == (4, HEIGHT, WIDTH, 3)
        assert [int(frame.min()) for frame in copy] == [int(frame.max()) for frame in copy] == [5, 6, 7, 8]
    finally:
        theirs.close()
        mine.close()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /dev/shm")
def test_a_name_is_gone_after_unlink_and_only_its_owner_takes_it_away() -> None:
    mine = SharedPlanes.create(HEIGHT, WIDTH)
    assert shared_blocks(os.getpid()) == [mine.name]
    SharedPlanes.attach(mine.name, HEIGHT, WIDTH).close()
    assert shared_blocks(os.getpid()) == [mine.name]
    mine.unlink()
    assert shared_blocks(os.getpid()) == []
    mine.close()
    never_named = SharedPlanes.create(HEIGHT, WIDTH)
    never_named.close()
    assert shared_blocks(os.getpid()) == []


def test_opening_a_block_does_not_make_this_process_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = SharedPlanes.create(HEIGHT, WIDTH)
    tracked: list[str] = []
    monkeypatch.setattr(resource_tracker, "register", lambda name, kind: tracked.append(name))
    SharedPlanes.attach(mine.name, HEIGHT, WIDTH).close()
    assert tracked == []
    mine.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands out memory that it may not have")
def test_a_machine_without_that_much_shared_memory_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ServerError, match="No space left on device") as caught:
        SharedPlanes.create(352, 640)
    assert caught.value.field == "shared memory"
    assert caught.value.value == "130 MiB"
    assert "--shm-size" in caught.value.remedy
    assert shared_blocks(os.getpid()) == []
