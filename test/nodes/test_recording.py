# SPDX-License-Identifier: Apache-2.0
import numpy as np

from resip_ros.nodes.recording import EpisodeRecording, decode_picture


def test_actions_are_paired_by_stamp_and_in_order(rng):
    recording = EpisodeRecording(start_ns=1_000_000_000)
    rows = rng.normal(size=(3, 10))
    for stamp, row in ((1_300_000_000, rows[2]), (1_100_000_000, rows[0])):
        recording.net[stamp] = row + 1
        recording.base[stamp] = row
    recording.base[1_200_000_000] = rows[1]
    time_s, base, net = recording.actions()
    np.testing.assert_allclose(time_s, [0.1, 0.3])
    np.testing.assert_array_equal(base, rows[[0, 2]])
    np.testing.assert_array_equal(net, rows[[0, 2]] + 1)


def test_nothing_recorded_gives_empty_arrays():
    assert [a.shape for a in EpisodeRecording().actions()] == [(0,), (0, 10), (0, 10)]


def test_pictures_survive_within_jpeg_error():
    recording = EpisodeRecording()
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, 32:] = (200, 100, 50)
    recording.add_picture(7, picture)
    stamp, data = recording.pictures[0]
    assert stamp == 7
    assert np.abs(decode_picture(data).astype(int) - picture).mean() < 4
