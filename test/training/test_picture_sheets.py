# SPDX-License-Identifier: Apache-2.0
import numpy as np
from PIL import Image

from training.dataset import build_demonstrations
from training.picture_sheets import augment_rows, save_sheet, spread_states


def test_states_are_spread_from_first_to_last_step():
    states = [np.tile(np.arange(20)[:, None] + 100 * e, (1, 3)) for e in range(2)]
    data = build_demonstrations(
        "peg_in_hole",
        [np.zeros((20, 37))] * 2,
        [np.zeros((20, 10))] * 2,
        source="test",
        seed=0,
        sim_states=states,
    )
    assert spread_states(data, 4)[:, 0].tolist() == [2, 107, 12, 117]


def test_a_sheet_holds_every_row(tmp_path):
    picture = np.zeros((2, 240, 320, 3), np.uint8)
    picture[:, :, 160:] = (250, 20, 30)
    rows = augment_rows({"front": picture, "wrist": picture}, seed=0)
    assert len(rows) == 12
    assert [label for label, _ in rows[:2]] == ["front: as it is", "front: augmented"]
    save_sheet(tmp_path / "sheets" / "a.png", rows, (20, 30))
    with Image.open(tmp_path / "sheets" / "a.png") as sheet:
        assert sheet.size == (60, 12 * 34)
        assert np.asarray(sheet.convert("RGB"))[24, 25].tolist() == [250, 20, 30]
