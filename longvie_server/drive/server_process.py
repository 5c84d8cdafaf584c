"""`longvie serve` as a process of ours: started, found, and stopped whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from bridge.errors import ServerError

__all__ = ["ServerProcess"]


class ServerProcess:
    """A server in a process of its own, on a free port of this machine.

    Args:
        model: what it serves.
        log: its log goes here.
        flags: of `longvie serve`, in addition.

    Raises:
        ServerError: it did not come up; the end of its log is in the message.
    """

    def __init__(self, model: str, *, log: Path, flags: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "longvie_server", "serve", "--model", model]
        command += ["--zeromq", "tcp://127.0.0.1:0", "--json", "--until-stdin-closes", *flags]
        self._log = log
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._close_pipes()
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            raise ServerError(f"the server did not start:\n{tail}", field="server", remedy=f"Its whole log is {log}.")
        addresses = json.loads(line)
        self.endpoint: str = addresses["zeromq"]
        self.grpc: str = addresses["grpc"]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def stop(self) -> None:
        """Ask it to stop; insist after a while."""
        self._close_pipes()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
