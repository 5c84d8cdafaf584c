"""A Hub on this machine: the requests that huggingface_hub makes to list and fetch a repository, over real sockets."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["LocalHub"]

REVISION = "0123456789abcdef0123456789abcdef01234567"


class LocalHub:
    """Serves folders as repositories.

    Args:
        repositories: folder by repository id.
        licence: of all of them.

    While `cut_after` is a number, longer answers end after so many bytes, and files are out of order from then on.
    """

    def __init__(self, repositories: Mapping[str, Path], *, licence: str = "apache-2.0") -> None:
        self.repositories = dict(repositories)
        self.licence = licence
        self.cut_after: int | None = None
        self.ranges: list[str] = []
        self.out_of_order = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> LocalHub:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                self._file(body=False)

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path.startswith("/api/models/"):
                    self._listing(path.removeprefix("/api/models/").partition("/revision/")[0])
                else:
                    self._file(body=True)

            def _listing(self, repository: str) -> None:
                folder = hub.repositories.get(repository)
                if folder is None:
                    self._refuse("RepoNotFound")
                    return
                files = sorted(p for p in folder.rglob("*") if p.is_file())
                body = json.dumps(
                    {
                        "id": repository,
                        "sha": REVISION,
                        "cardData": {"license": hub.licence},
                        "siblings": [_described(p, folder) for p in files],
                    }
                ).encode()
                self._headers(200, {"Content-Type": "application/json"}, len(body))
                self.wfile.write(body)

            def _file(self, *, body: bool) -> None:
                repository, _, rest = self.path.partition("?")[0].lstrip("/").partition("/resolve/")
                path = hub.repositories.get(repository, Path("/nowhere")) / rest.partition("/")[2]
                if hub.out_of_order:
                    self._headers(403, {}, 0)
                    return
                if not path.is_file():
                    self._refuse("EntryNotFound")
                    return
                data = path.read_bytes()
                etag = hashlib.sha256(data).hexdigest()
                start, status = 0, 200
                extra = {"ETag": f'"{etag}"', "X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
                asked = self.headers.get("Range")
                if asked:
                    hub.ranges.append(asked)
                    start, status = int(asked.removeprefix("bytes=").partition("-")[0]), 206
                    extra["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                self._headers(status, extra, len(data) - start)
                if not body:
                    return
                if hub.cut_after is not None and len(data) - start > hub.cut_after:
                    self.wfile.write(data[start : start + hub.cut_after])
                    self.close_connection = hub.out_of_order = True
                    return
                self.wfile.write(data[start:])

            def _headers(self, status: int, headers: Mapping[str, str], length: int) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(length))
                self.end_headers()

            def _refuse(self, code: str) -> None:
                self._headers(404, {"X-Error-Code": code}, 0)

        return Handler


def _described(path: Path, folder: Path) -> dict[str, Any]:
    """A file as the Hub lists it: large ones with their checksum."""
    size = path.stat().st_size
    entry: dict[str, Any] = {"rfilename": path.relative_to(folder).as_posix(), "size": size}
    if path.suffix == ".safetensors":
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entry["lfs"] = {"size": size, "sha256": digest, "pointerSize": 130}
    return entry
