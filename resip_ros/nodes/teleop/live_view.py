# SPDX-License-Identifier: Apache-2.0
"""What a camera sees, in any browser: a page of this machine that renews itself, and a file."""

from __future__ import annotations

import contextlib
import io
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resip_ros.core.errors import ResipError

JPEG_QUALITY = 80
WAIT_S = 1.0
BOUNDARY = "picture"
PAGE = b"""<!doctype html><title>resip_ros</title>
<body style="margin:0;background:#222"><img src="/stream" style="width:100vw;height:100vh;
object-fit:contain">"""


class LiveView:
    """Serves the newest picture on a port of this machine only."""

    def __init__(self, file: Path | None = None) -> None:
        """Begins to serve.

        Args:
            file: Where each picture is written too, as JPEG.

        Raises:
            ResipError: when no port is free.
        """
        self._file = file
        self._changed = threading.Condition()
        self._picture = b""
        self._number = 0
        self._closing = False
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        except OSError as error:
            raise ResipError(f"no port for the live view: {error.strerror}") from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True, name="view").start()

    @property
    def address(self) -> str:
        """For the browser."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def show(self, image: np.ndarray) -> None:
        """Replaces the picture, (H, W, 3) uint8 RGB."""
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="JPEG", quality=JPEG_QUALITY)
        with self._changed:
            self._picture, self._number = buffer.getvalue(), self._number + 1
            self._changed.notify_all()
        if self._file is not None:
            # whole or not at all: somebody may be looking at it
            partial_file = self._file.with_suffix(".part")
            with contextlib.suppress(OSError):
                partial_file.write_bytes(buffer.getvalue())
                partial_file.replace(self._file)

    def after(self, number: int) -> tuple[int, bytes] | None:
        """Waits for a picture with another number; None when the view is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._number != number, WAIT_S)
            return None if self._closing else (self._number, self._picture)

    def close(self) -> None:
        """Ends the page."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """The page, and the pictures as one endless answer."""

    def __init__(self, view: LiveView, *args: Any) -> None:
        self._view = view
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answers a browser."""
        if self.path == "/stream":
            self._stream()
            return
        self._begin("text/html")
        self.wfile.write(PAGE)

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def _stream(self) -> None:
        self._begin(f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        number = 0
        with contextlib.suppress(OSError):
            while (found := self._view.after(number)) is not None:
                if found[0] == number:
                    continue
                number, picture = found
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                self.wfile.write(f"{head}Content-Length: {len(picture)}\r\n\r\n".encode())
                self.wfile.write(picture + b"\r\n")

    def log_message(self, *_: object) -> None:
        """Says nothing: the terminal is the operator's."""
