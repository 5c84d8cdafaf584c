"""A child process with two message pipes and a log: what of a worker belongs to the operating system.

It is an ordinary program that Python's subprocess starts, so that it works alike on Windows, macOS and Linux, needs
nothing of the parent's main module, and can be put behind another launcher (torchrun, a scheduler) by its command.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from bridge.errors import ServerError

from .messages import Message, read_message, write_message

__all__ = ["WORKER_COMMAND", "ChildProcess"]

WORKER_COMMAND: Final = (sys.executable, "-m", "longvie_server.worker")
_TAIL_LINES: Final = 40
_PACKAGE_ROOT: Final = Path(__file__).parents[2]

_log = logging.getLogger(__name__)


class ChildProcess:
    """A running child.

    Args:
        command: program and arguments.
        threads: of its CPU work; None for the libraries' own choice.

    Raises:
        ServerError: the program cannot be started.
    """

    def __init__(self, command: Sequence[str], *, threads: int | None) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(threads),
            )
        except OSError as error:
            raise ServerError(
                f"the worker's process cannot be started ({error.strerror})",
                field="command",
                value=command[0],
                remedy="Check that the program exists and may be run.",
            ) from error
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._send_lock = threading.Lock()
        self._log_thread = threading.Thread(target=self._read_log, name="worker-log", daemon=True)
        self._log_thread.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def stderr_tail(self) -> str:
        """The last 40 lines of its log."""
        return "\n".join(self._tail)

    def send(self, message: Message) -> None:
        """Send a message; one to a child that is gone is dropped, since `receive` tells of its end."""
        # The pipe is closed after the child's end, which a ValueError tells.
        with self._send_lock, suppress(OSError, ValueError):
            write_message(_stream(self._process.stdin), message)

    def receive(self) -> Message | None:
        """Wait for its next message; None when it ends.

        Raises:
            ProtocolError: what it wrote is no message.
        """
        return read_message(_stream(self._process.stdout))

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def reap(self, *, grace_s: float) -> int:
        """Wait for its end, end it after `grace_s` seconds, give its pipes back and return its exit code."""
        try:
            exit_code = self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
            exit_code = self._process.wait()
        # A process that the child started may hold its log open: that is no reason to wait for it.
        self._log_thread.join(grace_s)
        with self._send_lock:
            for stream in (self._process.stdin, self._process.stdout):
                _stream(stream).close()
        return exit_code

    def _read_log(self) -> None:
        with _stream(self._process.stderr) as stream:
            rest = b""
            while chunk := stream.read(2**16):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._keep(line)
            self._keep(rest)

    def _keep(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            self._tail.append(text)
            _log.info("worker %d: %s", self.pid, text)


def _environment(threads: int | None) -> dict[str, str]:
    """Return the child's environment: it finds this very package, and nothing in the folder that it is started in."""
    path = os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    return environment


def _stream(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "all three are pipes"
    return pipe
