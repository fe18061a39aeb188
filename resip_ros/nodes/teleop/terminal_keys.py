# SPDX-License-Identifier: Apache-2.0
"""Single keys of a terminal as they are pressed, and the terminal as it was afterwards."""

from __future__ import annotations

import contextlib
import os
import re
import select
import termios
import threading
import time
import tty
from collections import deque

ARROWS = {"\x1b[A": "w", "\x1b[B": "s", "\x1b[D": "a", "\x1b[C": "d"}
_CUT_OFF = re.compile(r"\x1b(\[[0-9;]*|O)?$")
_KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO.|.", re.DOTALL)


class TerminalKeys:
    """Reads keys in a thread of its own; arrows count as w, s, a, d."""

    def __init__(self, fd: int) -> None:
        """Takes the terminal's line editing away until ``close``; Ctrl-C still interrupts.

        Args:
            fd: File descriptor of a terminal, or of a pipe.
        """
        self._fd = fd
        self._keys: deque[tuple[str, float]] = deque()
        self._before = None
        if os.isatty(fd):
            self._before = termios.tcgetattr(fd)
            tty.setcbreak(fd)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True, name="keys")
        self._thread.start()

    def _listen(self) -> None:
        text = ""
        while not self._closing.is_set():
            if not select.select([self._fd], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._fd, 256)
            except OSError:
                return
            now_s = time.monotonic()
            if not data:
                return
            text += data.decode(errors="ignore")
            # an arrow of which half has come: its last letter alone would be a key that moves
            cut = _CUT_OFF.search(text)
            whole, text = (text[: cut.start()], cut.group()) if cut else (text, "")
            for key in map(str, _KEY.findall(whole)):
                name: str = ARROWS.get(key) or key.replace("\r", "\n").lower()
                if len(name) == 1:
                    self._keys.append((name, now_s))

    def take(self) -> list[tuple[str, float]]:
        """Keys since the last call, each with its monotonic time, s."""
        found: list[tuple[str, float]] = []
        while self._keys:
            found.append(self._keys.popleft())
        return found

    def close(self) -> None:
        """Gives the terminal back."""
        self._closing.set()
        self._thread.join(1.0)
        if self._before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
            self._before = None
