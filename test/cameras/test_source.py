# SPDX-License-Identifier: Apache-2.0
import time

from resip_ros.cameras.source import Pacer


def test_pacer_keeps_the_rate_and_does_not_race_after_a_pause():
    pacer = Pacer(100.0)
    begun_s = time.monotonic()
    for _ in range(10):
        pacer.wait()
    assert time.monotonic() - begun_s >= 0.09
    time.sleep(0.2)
    begun_s = time.monotonic()
    for _ in range(5):
        pacer.wait()
    assert time.monotonic() - begun_s >= 0.025
