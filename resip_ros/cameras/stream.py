# SPDX-License-Identifier: Apache-2.0
"""A source on a thread of its own: reopened when it fails, and never an old picture passed on."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from resip_ros.cameras.pictures import Picture
from resip_ros.cameras.source import ClockNs, Frame, PictureSource
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import CameraError, ResipError

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
REOPEN_AFTER_S = 2.0
"""A device that gives nothing new for so long is closed and opened again."""


@dataclass(frozen=True)
class CameraStatus:
    """How a camera does."""

    camera: str
    is_ok: bool
    text: str
    """For people, one line."""
    passed: int
    """Pictures passed on since the start."""
    newest_ns: int
    """Stamp of the last of them."""
    refused: int
    """Repeated or late ones since the start."""


class Freshness:
    """Tells new pictures of one camera from repeated and late ones."""

    def __init__(self, has_noise: bool, max_age_ns: int) -> None:
        """Args: whether equal bytes mean a repetition; age beyond which a picture is late."""
        self._has_noise, self._max_age_ns = has_noise, max_age_ns
        self._mark: int | None = None
        self._picture: Picture | None = None

    def fault(self, frame: Frame, now_ns: int | None) -> str | None:
        """Why a picture must not be passed on; None when it is new."""
        if frame.mark is not None and frame.mark == self._mark:
            return f"frozen: the device repeats the picture with stamp {frame.mark}"
        before = self._picture
        if self._has_noise and before is not None and np.array_equal(frame.picture, before):
            return "frozen: the same picture again, to the last bit"
        if now_ns is not None and now_ns - frame.stamp_ns > self._max_age_ns:
            return f"late: a picture is {(now_ns - frame.stamp_ns) / NS_PER_S:.2f} s old"
        self._mark, self._picture = frame.mark, frame.picture
        return None


class CameraStream:
    """Passes on new pictures of a source until it is closed."""

    def __init__(
        self,
        source: PictureSource,
        pass_on: Callable[[Frame], None],
        *,
        max_silence_s: float,
        clock_ns: ClockNs | None = None,
        nice: int = 0,
    ) -> None:
        """Starts the thread.

        Args:
            source: Used by the thread alone from now on.
            pass_on: Called on the thread with each new picture; must be quick.
            max_silence_s: Without a new picture for so long a camera is in error, s.
            clock_ns: Finds late pictures; None where stamps are not of a running clock.
            nice: How much the thread, and those that it makes, come after the others, 0 to 19.
        """
        self.source = source
        self._pass_on, self._clock_ns, self._nice = pass_on, clock_ns, nice
        self._max_silence_s = max_silence_s
        max_age_ns = round(max_silence_s * NS_PER_S)
        self._fresh = {n: Freshness(source.has_noise, max_age_ns) for n in source.cameras}
        now_s = time.monotonic()
        self._new_s = dict.fromkeys(source.cameras, now_s)
        # count and newest stamp together, so that another thread never reads one without the other
        self._passed: dict[str, tuple[int, int]] = dict.fromkeys(source.cameras, (0, 0))
        self._refused = dict.fromkeys(source.cameras, 0)
        self._trouble: dict[str, str] = dict.fromkeys(source.cameras, "opening")
        self._closing, self._opened = threading.Event(), threading.Event()
        self.failure: Exception | None = None
        """What ended the thread; nothing that trying again would mend."""
        name = f"camera {' '.join(source.cameras)}"
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._thread.start()

    def wait_opened(self, timeout_s: float) -> None:
        """Wait for the first attempt to open.

        Raises:
            ResipError: when it failed for good.
        """
        self._opened.wait(timeout_s)
        if isinstance(self.failure, ResipError):
            raise self.failure

    def close(self, timeout_s: float = 15.0) -> None:
        """End the thread; a device that hangs is given up after a while."""
        self._closing.set()
        self._thread.join(timeout_s)

    def statuses(self) -> list[CameraStatus]:
        """How each camera does now; works while the device hangs."""
        return [self._status(name) for name in self.source.cameras]

    def _status(self, name: str) -> CameraStatus:
        silent_s = time.monotonic() - self._new_s[name]
        passed, newest_ns = self._passed[name]
        is_new = passed > 0 and silent_s <= self._max_silence_s
        if self.failure is not None:
            is_new, text = False, f"ended: {self.failure}"
        elif is_new:
            text = "running"
        else:
            reason = self._trouble[name] or "silent"
            text = f"{reason}; nothing new for {silent_s:.1f} s"
        return CameraStatus(name, is_new, text, passed, newest_ns, self._refused[name])

    # ---- the thread

    def _run(self) -> None:
        # adds to what the process was started with; on Linux it is this thread's alone
        os.nice(self._nice)
        pause_s = FIRST_PAUSE_S
        while not self._closing.is_set():
            before = dict(self._passed)
            try:
                self._read_until_closed()
            except CameraError as error:
                self._tell(str(error))
            except Exception as error:
                # a device may fail in ways of its driver; the node must learn of it
                self.failure = error
                if not isinstance(error, ResipError):
                    logger.exception("a camera ended")
                return
            finally:
                self.source.close()
                self._opened.set()
            # one that worked for a while is tried at once again
            pause_s = FIRST_PAUSE_S if self._passed != before else pause_s
            self._closing.wait(pause_s)
            pause_s = min(2.0 * pause_s, LONGEST_PAUSE_S)

    def _read_until_closed(self) -> None:
        self.source.open()
        self._opened.set()
        opened_s = time.monotonic()
        while not self._closing.is_set():
            for frame in self.source.read():
                self._take(frame)
            now_s = time.monotonic()
            since_s = now_s - max(opened_s, min(self._new_s.values()))
            if self.source.has_noise and since_s > REOPEN_AFTER_S:
                raise CameraError(self._worst() or "silent: no pictures")

    def _take(self, frame: Frame) -> None:
        now_ns = None if self._clock_ns is None else self._clock_ns()
        name = frame.camera
        fault = self._fresh[name].fault(frame, now_ns)
        if fault is not None:
            self._refused[name] += 1
            self._trouble[name] = fault
            return
        self._pass_on(frame)
        self._passed[name] = (self._passed[name][0] + 1, frame.stamp_ns)
        self._new_s[name] = time.monotonic()
        self._trouble[name] = ""

    def _worst(self) -> str:
        return next((text for text in self._trouble.values() if text), "")

    def _tell(self, text: str) -> None:
        for name in self._trouble:
            if self._trouble[name] != text:
                logger.error("%s", text)
            self._trouble[name] = text
