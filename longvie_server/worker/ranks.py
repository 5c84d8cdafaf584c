"""One clip on several devices: the worker's process is the first of several, and leads the others.

The others run this same program (`--rank`). Through pipes of their own they get what the first one got, the block and
the jobs, and a `GoOn` before every event of a clip: all take the same steps, so a cancel falls between the same two
everywhere. What they make is dropped; the first one decodes alone.
Law: whoever of them ends, all end. A process that waits for another's tokens would wait for ever; the supervisor, who
sees the first one's end, starts them anew.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bridge.errors import BridgeError, InvalidValue, ServerError, WorldModelFailed

from ..world_model.interface import WorldModel
from .clip import ClipEvent, make_clip
from .events import Progress
from .messages import (
    CancelClip,
    Close,
    GoOn,
    Message,
    PaintAhead,
    PlanesAt,
    PlanesAttached,
    RawStream,
    RunClip,
    read_message,
    write_message,
)
from .paint import AheadPainter
from .planes import SharedPlanes
from .process import ChildProcess

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

__all__ = ["Ranks", "device_of_rank", "follow"]

_HOST: Final = "127.0.0.1"
_GRACE_S: Final = 5.0

_log = logging.getLogger(__name__)


def _ignore(_: BridgeError) -> None:
    """Nobody is to be told."""


class Ranks:
    """The other processes, as the first one sees them; none of them where there is one device.

    Args:
        command: what starts one of them; its `--rank` and `--meet` are added.
        count: of all processes, the first one among them.
        threads: of each one's CPU work; None for the library's own choice.
        on_load_failed: told why, from another thread, where one of them ends before all have met.
    """

    def __init__(
        self,
        command: tuple[str, ...] = (),
        count: int = 1,
        threads: int | None = None,
        *,
        on_load_failed: Callable[[BridgeError], None] = _ignore,
    ) -> None:
        self._on_load_failed = on_load_failed
        self._met = False
        self._attached = threading.Semaphore(0)
        self._closing = False
        self._others: list[ChildProcess] = []
        self._store: TCPStore | None = None
        if count == 1:
            return
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        self._store = TCPStore(_HOST, 0, count, is_master=True, wait_for_workers=False)
        for rank in range(1, count):
            meeting = ("--rank", str(rank), "--meet", str(self._store.port))
            other = ChildProcess((*command, *meeting), threads=threads)
            self._others.append(other)
            threading.Thread(target=self._watch, args=(other, rank), name=f"rank-{rank}", daemon=True).start()

    def __len__(self) -> int:
        return len(self._others)

    def meet(self, model: WorldModel) -> None:
        """Share the first one's model's work among all processes, once each of them has loaded its own."""
        if self._store is not None:
            _share(model, self._store, rank=0, count=1 + len(self))
        self._met = True

    def attach(self, planes: PlanesAt) -> None:
        """Have all of them open the block of planes; return when they have."""
        self.send(planes)
        for _ in self._others:
            self._attached.acquire()

    def lead(self, clip: Generator[ClipEvent, None, object], order: RunClip) -> Generator[ClipEvent, None, object]:
        """Pass on a clip's events while the others take the same steps, up to the last one that takes them all."""
        self.send(order)
        together = True
        try:
            while True:
                if together:
                    self.send(GoOn(order.job_id))
                try:
                    event = next(clip)
                except StopIteration as end:
                    return end.value
                if isinstance(event, Progress) and event.stage == "denoise" and event.step == event.steps:
                    together = False
                    self.send(CancelClip(order.job_id))
                yield event
        finally:
            clip.close()
            if together:
                self.send(CancelClip(order.job_id))

    def send(self, message: Message) -> None:
        """Send a message to each of them."""
        for other in self._others:
            other.send(message)

    def close(self) -> None:
        """End them."""
        self._closing = True
        self.send(Close())
        for other in self._others:
            other.reap(grace_s=_GRACE_S)

    def _watch(self, other: ChildProcess, rank: int) -> None:
        with suppress(BridgeError, OSError, ValueError):
            while other.receive() is not None:
                self._attached.release()
        if not self._closing:
            code = other.reap(grace_s=_GRACE_S)
            _log.error("process %d of %d ended with exit code %d; so do all", 1 + rank, 1 + len(self), code)
            if not self._met:
                self._on_load_failed(_not_loaded(rank, 1 + len(self), other.stderr_tail))
            os._exit(1)


def follow(
    inbox: RawStream, outbox: RawStream, load: Callable[[], WorldModel], *, rank: int, count: int, port: int
) -> int:
    """Be one of the others, to the end: take every step of every clip that the first process takes.

    Returns:
        the process's exit code.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    orders: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(inbox, orders), name="rank-inbox", daemon=True).start()
    try:
        model = load()
        _share(model, TCPStore(_HOST, port, count, is_master=False), rank=rank, count=count)
    except BridgeError as error:
        _log.error("%s", error)
        return 1
    planes: SharedPlanes | None = None
    painter = AheadPainter()
    clip: Generator[ClipEvent, None, object] | None = None
    while not isinstance(order := orders.get(), Close):
        if isinstance(order, PlanesAt):
            planes = SharedPlanes.attach(order.name, order.height, order.width)
            painter.use(planes, height=order.height, width=order.width)
            write_message(outbox, PlanesAttached())
        elif isinstance(order, PaintAhead):
            painter.begin(order)
        elif isinstance(order, RunClip) and planes is not None:
            clip = make_clip(model, planes.read_job(order), ahead=painter)
        elif isinstance(order, CancelClip) and clip is not None:
            clip.close()
            clip = None
        elif isinstance(order, GoOn) and clip is not None:
            clip = _step(clip)
    return 0


def device_of_rank(device: str, rank: int, count: int) -> str:
    """Return the device of one of several processes.

    Raises:
        InvalidValue: there are not so many devices, or one of them was named.
    """
    if count == 1 or device == "cpu":
        return device
    if device not in ("auto", "cuda"):
        raise InvalidValue(
            f"names one device, and {count} are asked for",
            field="device",
            value=device,
            remedy="Choose auto or cuda with --gpus, and CUDA_VISIBLE_DEVICES to say which.",
        )
    import torch

    there = torch.cuda.device_count()
    if there < count:
        raise InvalidValue(
            f"more than this machine has: {there}",
            field="gpus",
            value=count,
            remedy=f"Choose --gpus {there} or fewer." if there > 1 else "Leave --gpus out.",
        )
    return f"cuda:{rank}"


def _share(model: WorldModel, store: TCPStore, *, rank: int, count: int) -> None:
    import torch
    import torch.distributed as dist

    from ..world_model.longvie2.world_model import LongVie2WorldModel

    if not isinstance(model, LongVie2WorldModel):
        raise InvalidValue(
            "only LongVie 2 can be shared out among devices",
            field="gpus",
            value=count,
            remedy=f"Leave --gpus out for model {model.spec.name!r}.",
        )
    device = model.pipeline.transformer.device
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=count)
    except (RuntimeError, ValueError) as error:
        raise ServerError(
            f"the {count} processes of this model do not find each other ({type(error).__name__}: {error})",
            field="gpus",
            value=count,
            remedy="See the log for one that ended. On a machine with several networks set GLOO_SOCKET_IFNAME=lo.",
        ) from error
    model.parallelise()


def _not_loaded(rank: int, count: int, last_words: str) -> WorldModelFailed:
    return WorldModelFailed(
        f"process {1 + rank} of {count} ended before its model was loaded",
        field="gpus",
        value=count,
        remedy=f"Its last words: {last_words or '(none)'}",
    )


def _step(clip: Generator[ClipEvent, None, object]) -> Generator[ClipEvent, None, object] | None:
    """Take a clip's next step; return None at its end. What fails here by rule fails in the first process alike."""
    try:
        next(clip)
    except StopIteration:
        return None
    except BridgeError as error:
        _log.warning("clip ended: %s", error)
        return None
    return clip


def _listen(inbox: RawStream, orders: queue.SimpleQueue[Message]) -> None:
    with suppress(BridgeError, OSError):
        while (message := read_message(inbox)) is not None:
            orders.put(message)
    # The first process is gone, and the main thread may be waiting for its tokens.
    os._exit(0)
