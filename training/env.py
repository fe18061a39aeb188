# SPDX-License-Identifier: Apache-2.0
"""The vectorised assembly environment: many simulations side by side, one step = 0.1 s.

The robot's own command path (``core.control``) drives each simulated arm, behind the robot's
own gate (``core.limits``): a refused action makes the arm stop, as on the bench. An episode
in which a real FR3 would have reflexed, a part was thrown or the solver blew up is a failure.
Letters: N environments, D observation, K physics steps per policy step.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.action import decode_action, encode_action
from resip_ros.core.config import ControlConfig, load_control_config
from resip_ros.core.control import CommandPath
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array, quat_wxyz_to_matrix, quat_wxyz_to_xyzw
from resip_ros.core.interpolation import stopping_segment
from resip_ros.core.kinematics import forward, jacobian
from resip_ros.core.limits import action_violations, clip_reference
from resip_ros.core.observation import (
    build_proprioception,
    build_state_observation,
    observation_names,
)
from resip_ros.core.tasks import get_task, pair_assembled
from resip_ros.sim.arm import FINGER_CLOSED_TARGET_M, FINGER_JOINTS, joint_control
from resip_ros.sim.initial_states import InitialState, sample_initial_state
from resip_ros.sim.scene import build_scene
from training.engine import MakeEngine, make_engine
from training.env_types import Snapshot, StepResult
from training.perturbation import Perturbation

_FORCE_FILTER_S = 0.02
_CLIP_SUBSTEPS = 5
"""The bridge clips its reference at 200 Hz; here every 10 ms, a multiple of the time step."""
_THROWN_SPEED = 2.0
_PARTS_LOW = np.array([0.0, -0.6, -0.02])
_PARTS_HIGH = np.array([0.9, 0.6, 0.6])
_OFF_REFERENCE_RAD = 0.5
POOL_SIZE = 256


class AssemblyEnv:
    """N simulations of a task; the caller resets those that ended."""

    def __init__(
        self,
        task_name: str,
        num_envs: int,
        *,
        randomness: str = "low",
        seed: int = 0,
        num_threads: int = 2,
        pool_size: int = POOL_SIZE,
        config: ControlConfig | None = None,
        perturb: bool = False,
        engine: str | MakeEngine = "mujoco",
    ) -> None:
        """Build the simulations; call reset before the first step.

        Args:
            task_name: A task of core.tasks.
            num_envs: N.
            randomness: Level of the initial states.
            seed: Initial states are numbers 0, 1, ... of this seed.
            num_threads: CPU threads for physics.
            pool_size: Initial states that are settled once and drawn from; an evaluation
                passes its own states instead.
            config: Control numbers; by default config/robots/fr3.yaml.
            perturb: Knock parts about during the episodes (training.perturbation).
            engine: What steps the simulations: one of training.engine.ENGINES, or what makes one.
        """
        if num_envs < 1:
            raise ConfigError(f"num_envs: got {num_envs}, expected at least 1")
        self.task = get_task(task_name)
        self.config = config or load_control_config()
        self.num_envs = num_envs
        self.obs_dim = len(observation_names(self.task))
        self.episode_steps = self.task.episode_steps
        self.t = np.zeros(num_envs, dtype=np.int64)
        self._randomness, self._seed, self._pool_size = randomness, seed, pool_size
        self._rng = np.random.default_rng((seed, 1))
        self._pool: list[InitialState] = []
        self.model = build_scene(task_name, self.config).compile()
        self._engine = make_engine(engine, self.model, num_envs, num_threads)
        self._threads = num_threads
        self._qpos, self._qvel = self._engine.qpos, self._engine.qvel
        self._ctrl, self._mocap_pos = self._engine.ctrl, self._engine.mocap_pos
        self._qacc_warmstart = self._engine.qacc_warmstart
        self._path = CommandPath(self.config, num_envs)
        self._finger_target = np.zeros(num_envs)
        self._torque = np.zeros((num_envs, 7))
        self._paid = np.zeros((num_envs, len(self.task.pairs)), dtype=bool)
        self._index_model()
        self._perturbation = None
        if perturb:
            self._perturbation = Perturbation(self.model, task_name, randomness, seed, num_envs)

    def _index_model(self) -> None:
        model = self.model
        self._arm = np.array([model.joint(f"fr3_joint{i}").qposadr[0] for i in range(1, 8)])
        self._arm_dof = np.array([model.joint(f"fr3_joint{i}").dofadr[0] for i in range(1, 8)])
        self._fingers = np.array([model.joint(n).qposadr[0] for n in FINGER_JOINTS])
        self._part_qpos = {n: model.joint(n).qposadr[0] for n in self.task.parts}
        self._part_dof = np.array([model.joint(n).dofadr[0] for n in self.task.parts])
        self._substeps = round(self.config.step_s / model.opt.timestep)
        times = np.arange(self._substeps) * model.opt.timestep
        # the bridge renews the reference at reference_hz and holds it in between
        self._reference_times = (
            np.floor(times * self.config.reference_hz + 1e-9) / self.config.reference_hz
        )

    # ---- initial states and snapshots

    def initial_states(self, indices: list[int], seed: int | None = None) -> list[InitialState]:
        """Settled initial states by number; the same numbers give the same states."""
        seed = self._seed if seed is None else seed

        def make(index: int) -> InitialState:
            return sample_initial_state(
                self.model, self.task, self.config, self._randomness, seed, index
            )

        with ThreadPoolExecutor(self._threads) as workers:
            return list(workers.map(make, indices))

    def reset(
        self,
        ids: NDArray[np.int64] | None = None,
        states: list[InitialState] | Snapshot | None = None,
        episodes: NDArray[np.int64] | None = None,
    ) -> None:
        """Start the episodes of the given environments.

        Args:
            ids: (b,) environments, all by default.
            states: Their b initial states or snapshots; drawn from the pool by default.
            episodes: (b,) numbers that fix their perturbations (Perturbation.restart); a
                snapshot does not hold these.
        """
        ids = np.arange(self.num_envs) if ids is None else np.asarray(ids)
        if len(ids) == 0:
            return
        if states is None:
            if not self._pool:
                self._pool = self.initial_states(list(range(self._pool_size)))
            draws = self._rng.integers(0, len(self._pool), len(ids))
            states = [self._pool[i] for i in draws]
        if len(states) != len(ids):
            raise ConfigError(f"reset of {len(ids)} environments got {len(states)} states")
        self._engine.reset(ids)
        if isinstance(states, Snapshot):
            self._restore(ids, states)
        else:
            self._start(ids, states)
        if self._perturbation is not None:
            self._perturbation.restart(ids, episodes)
        self._engine.forward(ids)

    def _start(self, ids: NDArray[np.int64], states: list[InitialState]) -> None:
        joints = np.array([s.joints for s in states])
        opening = self.config.gripper_max_width_m / 2
        self._qpos[ids[:, None], self._arm] = joints
        self._qpos[ids[:, None], self._fingers] = opening
        for name, start in self._part_qpos.items():
            poses = np.array([s.part_qpos[name] for s in states])
            self._qpos[ids, start : start + 7] = poses
        self._qvel[ids] = 0.0
        self._qacc_warmstart[ids] = 0.0
        self._mocap_pos[ids] = np.array([s.mocap_pos for s in states])
        self._ctrl[ids, :7] = joints
        self._ctrl[ids, 7] = opening
        self._path.reset(ids, joints)
        self._finger_target[ids] = opening
        self._torque[ids] = 0.0
        self._paid[ids] = False
        self.t[ids] = 0

    def snapshot(self, ids: NDArray[np.int64]) -> Snapshot:
        """Copy of the state of the given environments."""
        return Snapshot(
            self._qpos[ids].copy(),
            self._qvel[ids].copy(),
            self._qacc_warmstart[ids].copy(),
            self._ctrl[ids].copy(),
            self._mocap_pos[ids].copy(),
            self._path.q_ref[ids].copy(),
            self._path.dq_ref[ids].copy(),
            self._finger_target[ids].copy(),
            self._torque[ids].copy(),
            self._paid[ids].copy(),
            self.t[ids].copy(),
        )

    def _restore(self, ids: NDArray[np.int64], state: Snapshot) -> None:
        self._qpos[ids], self._qvel[ids] = state.qpos, state.qvel
        self._qacc_warmstart[ids], self._ctrl[ids] = state.qacc_warmstart, state.ctrl
        self._mocap_pos[ids] = state.mocap_pos
        self._path.reset(ids, state.q_ref, state.dq_ref)
        self._finger_target[ids], self._torque[ids] = state.finger_target, state.torque
        self._paid[ids], self.t[ids] = state.paid, state.t

    # ---- stepping

    def observe(self) -> Array:
        """State observation (N, D) now, SI, base frame."""
        q, dq = self._qpos[:, self._arm], self._qvel[:, self._arm_dof]
        pos, rot, jac = jacobian(q)
        twist = (jac @ dq[..., None])[..., 0]
        width = self._qpos[:, self._fingers].sum(-1)
        proprio = build_proprioception(pos, rot, twist[:, :3], twist[:, 3:], width)
        return build_state_observation(self.task, proprio, self._poses())

    def _poses(self) -> dict[str, Array]:
        """Body to pose (N, 7), m and quaternion xyzw."""
        poses = {}
        for name, start in self._part_qpos.items():
            qpos = self._qpos[:, start : start + 7]
            poses[name] = np.concatenate([qpos[:, :3], quat_wxyz_to_xyzw(qpos[:, 3:])], -1)
        if self.task.fixture is not None:
            upright = np.tile([0.0, 0.0, 0.0, 1.0], (self.num_envs, 1))
            poses[self.task.fixture] = np.concatenate([self._mocap_pos[:, 0], upright], -1)
        return poses

    def hold_action(self) -> Array:
        """Actions (N, 10) that ask for the measured poses, gripper open."""
        return _hold_action(self._qpos[:, self._arm])

    def step(self, action: Array) -> StepResult:
        """Advance all environments by one policy step with actions (N, 10), SI."""
        action = np.asarray(action, dtype=np.float64)
        if self._perturbation is not None:
            self._perturbation.push(self._qpos, self._qvel)
        q = self._qpos[:, self._arm].copy()
        pos, rot = forward(q)
        broken = action_violations(self.config, action, pos, rot)
        refused = np.any(list(broken.values()), axis=0)
        force, reflex = self._external_force(self._simulate(*self._references(action, q, refused)))
        self.t += 1
        failure = self._failures(reflex)
        assembled = self._assembled() & (failure == "")[:, None]
        success = assembled.all(-1)
        reward = (assembled & ~self._paid).sum(-1)
        self._paid |= assembled
        terminated = success | (failure != "")
        return StepResult(
            obs=self.observe(),
            reward=reward.astype(np.float32),
            terminated=terminated,
            truncated=(self.t >= self.episode_steps) & ~terminated,
            success=success,
            failure=failure,
            force=force,
            refused=refused,
        )

    def _references(
        self, action: Array, q: Array, refused: NDArray[np.bool_]
    ) -> tuple[Array, Array, Array]:
        """References of one policy step: q and dq (N, K, 7), finger targets (N, K)."""
        path, config = self._path, self.config
        held = path.q_ref.copy(), path.dq_ref.copy()
        safe = np.where(refused[:, None], _hold_action(q), action)
        q_ref, dq_ref = path.step(safe, q).sample(self._reference_times)
        if refused.any():
            stop = stopping_segment(held[0][refused], held[1][refused], config.hold_duration_s)
            q_ref[refused], dq_ref[refused] = stop.sample(self._reference_times)
            path.reset(np.flatnonzero(refused), stop.q_end)
        return q_ref, dq_ref, self._finger_controls(decode_action(safe)[2], refused)

    def _simulate(self, q_ref: Array, dq_ref: Array, fingers: Array) -> Array:
        """Physics of one policy step; constraint torques on the arm's joints (N, K, 7), N m."""
        torques = []
        for start in range(0, self._substeps, _CLIP_SUBSTEPS):
            block = slice(start, start + _CLIP_SUBSTEPS)
            q, dq = self._qpos[:, None, self._arm], self._qvel[:, None, self._arm_dof]
            clipped = clip_reference(self.config, q_ref[:, block], dq_ref[:, block], q, dq)
            control = np.empty((self.num_envs, clipped.shape[1], 8))
            control[:, :, :7] = joint_control(self.config, clipped, dq_ref[:, block])
            control[:, :, 7] = fingers[:, block]
            torques.append(self._engine.rollout(control)[:, :, self._arm_dof])
        return np.concatenate(torques, axis=1)

    def _finger_controls(self, command: Array, refused: NDArray[np.bool_]) -> Array:
        """Finger targets (N, K), m: a ramp at the gripper's speed, from the real opening."""
        rate = 0.5 * self.config.gripper_speed_m_s * self.model.opt.timestep
        opening = self.config.gripper_max_width_m / 2
        close = command > 0.0
        finger = self._qpos[:, self._fingers].mean(-1)
        # a hand that changes its mind starts from where its fingers are, as the real one does
        start = np.where(
            close, np.minimum(self._finger_target, finger), np.maximum(self._finger_target, finger)
        )
        goal = np.where(refused, start, np.where(close, FINGER_CLOSED_TARGET_M, opening))
        steps = rate * np.arange(1, self._substeps + 1)
        reach = np.minimum(np.abs(goal - start)[:, None], steps)
        ramp = start[:, None] + np.sign(goal - start)[:, None] * reach
        self._finger_target = ramp[:, -1].copy()
        return ramp

    def _external_force(self, torque: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Largest filtered hand force (N,) and whether the arm would have reflexed (N,).

        Args:
            torque: Constraint torque on the arm joints (N, K, 7), N m: what contacts of hand
                and held part put on the joints, as the robot's external-torque estimate.
        """
        blend = self.model.opt.timestep / _FORCE_FILTER_S
        _, _, jac = jacobian(self._qpos[:, self._arm])
        to_wrench = np.linalg.pinv(jac.swapaxes(-1, -2), rcond=1e-3)
        peak = np.zeros(self.num_envs)
        reflex = np.zeros(self.num_envs, dtype=bool)
        filtered = self._torque
        every = 5
        for k in range(0, torque.shape[1], every):
            mean = torque[:, k : k + every].mean(1)
            filtered = filtered + (1.0 - (1.0 - blend) ** every) * (mean - filtered)
            force = (to_wrench @ filtered[..., None])[:, :3, 0]
            peak = np.maximum(peak, np.linalg.norm(force, axis=-1))
            reflex |= (np.abs(force) > self.config.force_threshold_n).any(-1)
            reflex |= (np.abs(filtered) > self.config.torque_threshold_nm).any(-1)
        self._torque = filtered
        return peak, reflex

    def _failures(self, reflex: NDArray[np.bool_]) -> NDArray[np.str_]:
        """Reason why an episode must end badly (N,), '' where it goes on."""
        finite = np.isfinite(self._qpos).all(-1) & np.isfinite(self._qvel).all(-1)
        off = np.abs(self._qpos[:, self._arm] - self._path.q_ref).max(-1) > _OFF_REFERENCE_RAD
        positions = np.stack([self._qpos[:, s : s + 3] for s in self._part_qpos.values()], 1)
        speeds = np.stack([self._qvel[:, s : s + 3] for s in self._part_dof], 1)
        outside = ((positions < _PARTS_LOW) | (positions > _PARTS_HIGH)).any((-1, -2))
        thrown = outside | (np.linalg.norm(speeds, axis=-1) > _THROWN_SPEED).any(-1)
        failure = np.full(self.num_envs, "", dtype="<U8")
        failure[reflex] = "reflex"
        failure[thrown] = "thrown"
        failure[~finite | off] = "unstable"
        return failure

    def _assembled(self) -> NDArray[np.bool_]:
        """Which pairs of the task are assembled (N, P)."""
        done = np.zeros((self.num_envs, len(self.task.pairs)), dtype=bool)
        for i, pair in enumerate(self.task.pairs):
            poses = []
            for name in (pair.parent, pair.child):
                start = self._part_qpos[name]
                qpos = self._qpos[:, start : start + 7]
                poses += [qpos[:, :3], quat_wxyz_to_matrix(qpos[:, 3:])]
            done[:, i] = pair_assembled(pair, *poses)
        return done


def _hold_action(q: Array) -> Array:
    """Actions (N, 10) that ask for the measured pose with the gripper open."""
    pos, rot = forward(q)
    return encode_action(pos, rot, -np.ones(len(q)))
