# SPDX-License-Identifier: Apache-2.0
"""The scripted operator hangs the mug all four ways, gently, and admits a fallen mug."""

import numpy as np
import pytest

from resip_ros.core.geometry import rotation_z
from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import MUG_RACK, goal_poses
from resip_ros.sim.mug_rack import MUG_NOMINAL, MUG_NOMINAL_ROT, MUG_RADIUS_M
from training.demonstrators.mug_rack import Operator
from training.env import AssemblyEnv

# of each operator: the peg, and whether it likes to turn the mug round
WAYS = [(0, False), (1, False), (0, True), (1, True)]


def make_operators() -> list[Operator]:
    operators = [Operator(np.random.default_rng((3, i))) for i in range(len(WAYS))]
    for operator, (peg, turns) in zip(operators, WAYS, strict=True):
        operator.peg, operator._inclination = peg, 1.0 if turns else -1.0
    return operators


def nearest_goal(obs: np.ndarray) -> int:
    """Which goal of the pair the mug is at."""
    rack, rack_rot = body_pose(MUG_RACK, obs, "rack")
    mug, mug_rot = body_pose(MUG_RACK, obs, "mug")
    positions, rotations = goal_poses(MUG_RACK.pairs[0])
    off = np.linalg.norm(rack_rot.T @ (mug - rack) - positions, axis=1)
    turned = np.abs(rack_rot.T @ mug_rot - rotations).sum((1, 2))
    return int(np.argmin(off + turned))


def test_four_operators_hang_the_mug_on_each_peg_each_way_round():
    env = AssemblyEnv("mug_rack", len(WAYS), seed=3, num_threads=1, pool_size=1)
    env.reset(None, env.initial_states(list(range(len(WAYS)))))
    operators = make_operators()
    phases: list[list[str]] = [["approach"] for _ in operators]
    left, reached = dict(enumerate(operators)), {}
    force = 0.0
    for _ in range(MUG_RACK.episode_steps):
        obs, action = env.observe(), env.hold_action()
        for i, operator in left.items():
            action[i] = operator.act(obs[i])
            if operator.phase != phases[i][-1]:
                phases[i].append(operator.phase)
        result = env.step(action)
        assert not result.refused.any()
        assert not any(operator.gave_up for operator in left.values())
        force = max(force, result.force.max())
        for i in [i for i in left if result.success[i]]:
            reached[i] = nearest_goal(result.obs[i])
            assert result.obs[i][15] > 0.02, "the hand has let go by then"
            del left[i]
        if not left:
            break
    assert not left, f"not hung: {[op.phase for op in left.values()]}"
    assert reached == {0: 0, 1: 1, 2: 2, 3: 3}
    for seen in phases:
        assert seen[:6] == ["approach", "descend", "grasp", "lift", "round", "carry"]
        assert seen[6:10] == ["align", "insert", "lower", "release"]
    assert force < 35.0


@pytest.mark.parametrize("turned", [False, True])
def test_takes_the_rim_opposite_or_beside_the_handle_however_the_mug_stands(make_view, turned):
    view = make_view("mug_rack")
    for degrees in (-35.0, 0.0, 35.0):
        turn = rotation_z(np.radians(degrees))
        view.put("mug", MUG_NOMINAL, turn @ MUG_NOMINAL_ROT)
        operator = Operator(np.random.default_rng(0))
        operator._inclination = 1.0 if turned else -1.0
        operator.act(view.obs)
        pos, rot = operator._grasp_pose(above=0.0)
        to_handle, across = (turn @ MUG_NOMINAL_ROT)[:, 0], (turn @ MUG_NOMINAL_ROT)[:, 2]
        side = across if turned else to_handle
        np.testing.assert_allclose(pos[:2], MUG_NOMINAL[:2] - MUG_RADIUS_M * side[:2], atol=1e-9)
        assert rot[2, 2] < -0.9, "from above"
        assert abs(rot[:, 1] @ side) == pytest.approx(1.0), "one finger inside, one outside"
        away_from_stop = [1, 0, 0] if turned else [0, 1, 0]
        assert rot[:, 0] @ away_from_stop > 0.75, "the wrist stays away from its stops"


def test_turns_the_mug_round_the_likelier_the_shorter_the_way(make_view):
    view, shares = make_view("mug_rack"), []
    for degrees in (-35.0, 0.0, 35.0):
        view.put("mug", MUG_NOMINAL, rotation_z(np.radians(degrees)) @ MUG_NOMINAL_ROT)
        operators = [Operator(np.random.default_rng(seed)) for seed in range(200)]
        for operator in operators:
            operator.act(view.obs)
        shares.append(float(np.mean([operator.turned for operator in operators])))
        assert 0.4 < np.mean([operator.peg for operator in operators]) < 0.6
    np.testing.assert_allclose(shares, [0.16, 0.35, 0.54], atol=0.08)


def test_turns_with_an_upright_hand_through_the_wrists_free_range(make_view):
    view, operator = make_view("mug_rack"), Operator(np.random.default_rng(0))
    operator._inclination = 1.0
    operator.act(view.obs)
    view.put_hand(*operator._grasp_pose(above=0.0))
    operator.phase, yaws = "round", []
    for _ in range(60):
        operator._pause = 0
        operator.act(view.obs)
        pos, rot, following = operator._round()
        view.put_hand(pos, rot)
        yaws.append(np.degrees(np.arctan2(rot[1, 0], rot[0, 0])))
        if following == "carry":
            break
    assert operator.phase == "carry"
    assert np.all(np.diff(yaws) > 0.0), "one way round, and not across the stop"
    assert yaws[-1] > 120.0
    assert rot[2, 2] < -0.99, "upright by now"


def test_gives_up_when_the_mug_falls_and_waits_while_it_swings(make_view):
    view, operator = make_view("mug_rack"), Operator(np.random.default_rng(0))
    operator.phase = "watch"
    view.put("mug", MUG_NOMINAL + np.array([0.0, 0.0, 0.05]), MUG_NOMINAL_ROT)
    for _ in range(100):
        operator.act(view.obs)
    assert not operator.gave_up
    view.put("mug", MUG_NOMINAL, MUG_NOMINAL_ROT)
    operator.act(view.obs)
    assert operator.gave_up
