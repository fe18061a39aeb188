# SPDX-License-Identifier: Apache-2.0
"""Who acts in a collection: turns of teacher and student, and what is kept of them."""

import numpy as np
import pytest
import zarr

from resip_ros.core.errors import ConfigError
from resip_ros.policy.bundle import load_policy
from resip_ros.policy.image_encoder import EncoderSpec
from resip_ros.policy.mlp import MlpSpec
from resip_ros.sim.gl import NoRenderingError, find_backend
from training.collect import CollectSettings, make_crew, run
from training.collect_crew import TURN_STEPS, TeachingCrew
from training.env import AssemblyEnv
from training.eyes import Eyes

from ..bundles import save_student

TASK = "one_leg"


class Says:
    """Stands in for a policy: always the same action; notes when it was told to plan anew."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.closed = False
        self.replanned: list[int] = []
        self.asked: list[list[int]] = []

    def start(self, slot: int, number: int) -> None:
        del number
        self.replan(slot)

    def replan(self, slot: int) -> None:
        self.replanned.append(slot)

    def close(self) -> None:
        self.closed = True

    def act(self, obs: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        del obs
        self.asked.append(slots.tolist())
        action = np.full((len(slots), 10), self.value)
        return action, action


def play(share: float, steps: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Says, Says]:
    """What was done and kept (steps, 3) in three simulations, and who said it."""
    teacher, student = Says(1.0), Says(2.0)
    crew = TeachingCrew(teacher, student, share, seed)
    for slot in range(3):
        crew.start(slot, 10 + slot)
    pairs = [crew.act(np.zeros((3, 4)), np.arange(3)) for _ in range(steps)]
    done, kept = (np.array(side)[..., 0] for side in zip(*pairs, strict=True))
    return done, kept, teacher, student


def test_they_take_turns_and_the_teachers_answer_is_kept():
    done, kept, teacher, student = play(0.5, 30 * TURN_STEPS)
    assert (kept == 1.0).all()
    turns = done.reshape(30, TURN_STEPS, 3)
    assert (turns == turns[:, :1]).all(), "a turn is not broken off"
    led = (turns[:, 0] == 2.0).mean()
    assert 0.3 < led < 0.7
    assert not (turns[:, 0] == turns[:, 0, :1]).all(), "each simulation has turns of its own"
    assert len(teacher.replanned) == 3, "the teacher's plans go on"
    assert len(student.replanned) == 3 + (turns[:, 0] == 2.0).sum(), "it plans where it begins"
    assert sum(map(len, student.asked)) == (done == 2.0).sum()
    again = play(0.5, 30 * TURN_STEPS)[0]
    np.testing.assert_array_equal(done, again)
    assert (done != play(0.5, 30 * TURN_STEPS, seed=1)[0]).any()


@pytest.mark.parametrize(("share", "who"), [(1.0, 1.0), (0.0, 2.0)])
def test_one_may_have_all_turns(share, who):
    done, kept, _, _ = play(share, 3 * TURN_STEPS)
    assert (done == who).all()
    assert (kept == 1.0).all()


@pytest.fixture
def early_success(monkeypatch):
    """Every attempt succeeds at its third step; the actions of all steps."""
    original, done = AssemblyEnv.step, []

    def step(self, action):
        done.append(action.copy())
        result = original(self, action)
        third = self.t == 3
        result.success[third] = result.terminated[third] = True
        return result

    monkeypatch.setattr(AssemblyEnv, "step", step)
    return done


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """Bundle of an untrained student that sees pictures."""
    try:
        find_backend()
    except NoRenderingError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("student")
    save_student(folder, TASK, MlpSpec(width=16, blocks=1), 8, EncoderSpec(32, width=8, stages=1))
    return folder


def settings(tmp_path, **more) -> CollectSettings:
    base = {"episodes": 2, "envs": 2, "num_threads": 1, "seed": 3}
    return CollectSettings(TASK, tmp_path / "kept.zarr", **base | more)


def test_a_student_with_pictures_is_taught_where_it_goes(
    tmp_path, tiny_base, student, early_success
):
    options = {"policy": tiny_base, "student": student, "teacher_share": 0.0}
    run(settings(tmp_path, **options, look="random"))
    led = zarr.open_group(tmp_path / "kept.zarr", mode="r")
    hashes = [load_policy(p, images=True).base.card.weights_hash for p in (tiny_base, student)]
    expected = f"policy {hashes[0][:12]} where policy {hashes[1][:12]} went"
    assert dict(led.attrs)["source"] == expected
    executed = np.array(early_success)[-3:, 0].astype(np.float32)
    assert (led["action"][:3] != executed).any(axis=1).all(), "the student acted"
    assert "sim_state" in led, "so that it can be drawn"
    (tmp_path / "alone").mkdir()
    run(settings(tmp_path / "alone", policy=tiny_base))
    alone = zarr.open_group(tmp_path / "alone" / "kept.zarr", mode="r")["action"][:]
    # in the first state the teacher answers as it does alone, and alone it is obeyed
    np.testing.assert_array_equal(led["action"][:][[0, 3]], alone[[0, 3]])
    np.testing.assert_array_equal(alone[:3], np.array(early_success)[-3:, 0].astype(np.float32))


def test_both_are_closed():
    teacher, student = Says(1.0), Says(2.0)
    TeachingCrew(teacher, student, 0.5, 0).close()
    assert teacher.closed
    assert student.closed


def test_a_student_collects_alone(tmp_path, student, early_success, monkeypatch):
    closed = []
    close = Eyes.close
    monkeypatch.setattr(Eyes, "close", lambda self: closed.append(close(self)))
    run(settings(tmp_path, policy=student, parts=2))
    assert len(closed) == 2, "the graphics of every part are freed"
    assert zarr.open_group(tmp_path / "kept.zarr", mode="r")["action"].shape == (6, 10)


def test_wrong_settings(tmp_path, tiny_base):
    with pytest.raises(ConfigError, match="--student needs --policy"):
        settings(tmp_path, student=tiny_base)
    with pytest.raises(ConfigError, match="nobody teaches in --simulation standin"):
        settings(tmp_path, policy=tiny_base, student=tiny_base, simulation="standin")
    with pytest.raises(ConfigError, match=r"--teacher-share: got 1\.5"):
        settings(tmp_path, policy=tiny_base, student=tiny_base, teacher_share=1.5)
    env = AssemblyEnv(TASK, 2, num_threads=1, pool_size=1)
    for more in ({}, {"policy": tiny_base}, {"policy": tiny_base, "student": tiny_base}):
        with pytest.raises(ConfigError, match="--look random: nobody here sees pictures"):
            make_crew(settings(tmp_path, look="random", **more), env)
