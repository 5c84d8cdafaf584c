"""/healthz and /metrics, on a thread of their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from bridge.errors import InvalidValue

__all__ = ["HttpFrontend"]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a scrape is no event."""


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class HttpFrontend:
    """Serves health and metrics.

    Args:
        address: host:port; port 0 for a free one.
        registry: what /metrics shows.
        health: problems, by what has them; an empty answer is healthy.
    """

    def __init__(self, address: str, *, registry: CollectorRegistry, health: Callable[[], dict[str, str]]) -> None:
        self._metrics, self._health = make_wsgi_app(registry), health
        host, _, port = address.rpartition(":")
        try:
            self._server = make_server(host or "127.0.0.1", int(port), self._app, _Threaded, _Quiet)
        except (OSError, ValueError, OverflowError) as error:
            raise InvalidValue(
                f"cannot listen there ({error})",
                field="listen.http",
                value=address,
                remedy="Give host:port, a free one.",
            ) from error
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="longvie-http", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            body_parts: Iterable[bytes] = self._metrics(environ, start_response)
            return body_parts
        if path == "/healthz":
            problems = self._health()
            status = "503 Service Unavailable" if problems else "200 OK"
            body = json.dumps({"status": "failing" if problems else "ok", "problems": problems}).encode()
        else:
            status, body = "404 Not Found", b'{"paths": ["/healthz", "/metrics"]}'
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
