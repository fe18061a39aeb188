# SPDX-License-Identifier: Apache-2.0
"""The vectorised assembly environment: many simulations side by side, at the task's rate.

The robot's own command path drives each simulated arm, behind the robot's own gate: a refused
action makes the arm stop; where there are several, all of them, or what they hold between them
would be torn. What would end the episode on the robot is a failure (training.failures).
Letters: N environments, A arms, D observation, K physics steps per policy step.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.action import ACTION_DIM, encode_action
from resip_ros.core.arms import to_base_frames, to_task_frame
from resip_ros.core.config import ControlConfig, load_control_config
from resip_ros.core.control import CommandPath
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array, norm, quat_wxyz_to_matrix
from resip_ros.core.interpolation import stopping_segment
from resip_ros.core.kinematics import forward, jacobian
from resip_ros.core.limits import action_violations
from resip_ros.core.observation import (
    build_proprioception,
    build_state_observation,
    observation_names,
)
from resip_ros.core.reference_check import segment_violations
from resip_ros.core.tasks import get_task, pair_assembled
from resip_ros.sim.arm import FINGER_CLOSED_TARGET_M, find_arms, joint_control
from resip_ros.sim.initial_states import InitialState, sample_initial_state
from resip_ros.sim.scene import build_scene
from training.contact_force import filter_torque, hand_force
from training.engine import MakeEngine, make_engine
from training.env_types import Snapshot, StepResult
from training.failures import CommandTimeout, find_failures, is_thrown, is_unstable
from training.perturbation import Perturbation

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
        timestep_s: float | None = None,
    ) -> None:
        """Build the simulations; call reset before the first step.

        Args:
            task_name: A task of core.tasks.
            num_envs: N.
            randomness: Level of the initial states.
            seed: Initial states are numbers 0, 1, ... of this seed.
            num_threads: CPU threads for physics.
            pool_size: Initial states that are settled once and drawn from.
            config: Control numbers, at any rate; by default config/robots/fr3.yaml.
            perturb: Knock parts about during the episodes (training.perturbation).
            engine: One of training.engine.ENGINES, or what makes one.
            timestep_s: Physics step, by default the task's; see sim.scene.build_scene.
        """
        if num_envs < 1:
            raise ConfigError(f"num_envs: got {num_envs}, expected at least 1")
        self.task = get_task(task_name)
        self.config = (config or load_control_config()).at_rate(self.task.rate_hz)
        self.num_envs = num_envs
        self.obs_dim = len(observation_names(self.task))
        self.episode_steps = self.task.episode_steps
        self.t = np.zeros(num_envs, dtype=np.int64)
        self._randomness, self._seed, self._pool_size = randomness, seed, pool_size
        self._rng = np.random.default_rng((seed, 1))
        self._pool: list[InitialState] = []
        self.model = build_scene(task_name, self.config, timestep=timestep_s).compile()
        self._limit_tracking_torque()
        self._engine = make_engine(engine, self.model, num_envs, num_threads)
        self._threads = num_threads
        self._qpos, self._qvel = self._engine.qpos, self._engine.qvel
        self._ctrl, self._mocap_pos = self._engine.ctrl, self._engine.mocap_pos
        self._qacc_warmstart = self._engine.qacc_warmstart
        arms = len(self.task.arms)
        self._path = CommandPath(self.config, num_envs * arms)
        self._timeout = CommandTimeout(self.config.command_timeout_steps, num_envs)
        self._finger_target = np.zeros((num_envs, arms))
        self._torque = np.zeros((num_envs, arms, 7))
        self._paid = np.zeros((num_envs, len(self.task.pairs)), dtype=bool)
        self._index_model()
        self._perturbation = None
        if perturb:
            self._perturbation = Perturbation(self.model, task_name, randomness, seed, num_envs)

    def _index_model(self) -> None:
        model = self.model
        self._arms = find_arms(model, self.task.arms)
        self._part_qpos = {n: model.joint(n).qposadr[0] for n in self.task.parts}
        starts = np.array(list(self._part_qpos.values()))[:, None]
        self._part_pos = starts + np.arange(3)
        self._part_poses = starts + np.array([0, 1, 2, 4, 5, 6, 3])
        speeds = np.array([model.joint(n).dofadr[0] for n in self.task.parts])
        self._part_vel = speeds[:, None] + np.arange(3)
        self._substeps = round(self.config.step_s / model.opt.timestep)
        times = np.arange(self._substeps) * model.opt.timestep
        # the bridge renews the reference at reference_hz and holds it in between
        self._reference_times, self._reference_of_substep = np.unique(
            np.floor(times * self.config.reference_hz + 1e-9) / self.config.reference_hz,
            return_inverse=True,
        )
        self._lead_s = joint_control(self.config, np.zeros(7), np.ones(7))

    def _limit_tracking_torque(self) -> None:
        """Let the actuators clip their torque, as the bridge clips its reference at 200 Hz.

        That torque is K (q_ref - q) + D (dq_ref - dq): what ``limits.clip_reference`` clips; here
        at every physics step.
        """
        joints = find_arms(self.model, self.task.arms).control
        limit = np.asarray(self.config.max_tracking_torque)
        self.model.actuator_forcelimited[joints] = 1
        self.model.actuator_forcerange[joints] = np.stack([-limit, limit], axis=-1)

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
        arms = self._arms
        joints = np.array([s.joints for s in states]).reshape(len(ids), *arms.qpos.shape)
        opening, rows = self.config.gripper_max_width_m / 2, ids[:, None, None]
        self._qpos[rows, arms.qpos] = joints
        self._qpos[rows, arms.fingers] = opening
        for name, start in self._part_qpos.items():
            poses = np.array([s.part_qpos[name] for s in states])
            self._qpos[ids, start : start + 7] = poses
        self._qvel[ids] = 0.0
        self._qacc_warmstart[ids] = 0.0
        self._mocap_pos[ids] = np.array([s.mocap_pos for s in states])
        self._ctrl[rows, arms.control] = joints
        self._ctrl[ids[:, None], arms.hand] = opening
        self._path.reset(self._path_rows(ids), joints.reshape(-1, 7))
        self._finger_target[ids] = opening
        self._torque[ids] = 0.0
        self._paid[ids] = False
        self._timeout.steps_since[ids] = -1
        self.t[ids] = 0

    def snapshot(self, ids: NDArray[np.int64]) -> Snapshot:
        """Copy of the state of the given environments."""
        return Snapshot(
            self._qpos[ids].copy(),
            self._qvel[ids].copy(),
            self._qacc_warmstart[ids].copy(),
            self._ctrl[ids].copy(),
            self._mocap_pos[ids].copy(),
            self._path.q_ref.reshape(self.num_envs, -1)[ids].copy(),
            self._path.dq_ref.reshape(self.num_envs, -1)[ids].copy(),
            self._finger_target[ids].copy(),
            self._torque[ids].copy(),
            self._paid[ids].copy(),
            self._timeout.steps_since[ids].copy(),
            self.t[ids].copy(),
        )

    def _restore(self, ids: NDArray[np.int64], state: Snapshot) -> None:
        self._qpos[ids], self._qvel[ids] = state.qpos, state.qvel
        self._qacc_warmstart[ids], self._ctrl[ids] = state.qacc_warmstart, state.ctrl
        self._mocap_pos[ids] = state.mocap_pos
        q_ref, dq_ref = state.q_ref.reshape(-1, 7), state.dq_ref.reshape(-1, 7)
        self._path.reset(self._path_rows(ids), q_ref, dq_ref)
        self._finger_target[ids], self._torque[ids] = state.finger_target, state.torque
        self._paid[ids], self.t[ids] = state.paid, state.t
        self._timeout.steps_since[ids] = state.steps_since_accepted

    def _path_rows(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the command path has the arms of environments ids (b,), (b A,)."""
        return (ids[:, None] * len(self.task.arms) + np.arange(len(self.task.arms))).ravel()

    # ---- stepping

    def observe(self) -> Array:
        """State observation (N, D) now, SI, task frame."""
        return self._observation(*jacobian(self._qpos[:, self._arms.qpos]))

    def _observation(self, pos: Array, rot: Array, jac: Array) -> Array:
        """State observation (N, D) of hands at (N, A, ...), base frames."""
        twist = (jac @ self._qvel[:, self._arms.dof][..., None])[..., 0]
        width = self._qpos[:, self._arms.fingers].sum(-1)
        proprio = build_proprioception(pos, rot, twist[..., :3], twist[..., 3:], width)
        proprio = to_task_frame(self.task.arms, proprio)
        return build_state_observation(self.task, proprio, self._poses())

    def _poses(self) -> dict[str, Array]:
        """Body to pose (N, 7), m and quaternion xyzw."""
        parts = self._qpos[:, self._part_poses]
        poses = {name: parts[:, i] for i, name in enumerate(self._part_qpos)}
        if self.task.fixture is not None:
            upright = np.tile([0.0, 0.0, 0.0, 1.0], (self.num_envs, 1))
            poses[self.task.fixture] = np.concatenate([self._mocap_pos[:, 0], upright], -1)
        return poses

    def hold_action(self) -> Array:
        """Actions (N, 10 A) that ask for the measured poses, grippers open."""
        measured = forward(self._qpos[:, self._arms.qpos])
        return to_task_frame(self.task.arms, _hold_action(*measured))

    def step(self, action: Array) -> StepResult:
        """Advance all environments by one policy step with actions (N, 10 A), SI, task frame."""
        action = to_base_frames(self.task.arms, action)
        if self._perturbation is not None:
            self._perturbation.push(self._qpos, self._qvel)
        q = self._qpos[:, self._arms.qpos]
        measured = forward(q)
        broken = action_violations(self.config, action, *measured)
        refused = np.any(list(broken.values()), axis=(0, 2))
        if refused.any():
            action = np.where(refused[:, None, None], _hold_action(*measured), action)
        joints, refused = self._references(action, q, measured, refused)
        torque = self._simulate(joints, self._finger_controls(action[..., -1], refused))
        hand = jacobian(self._qpos[:, self._arms.qpos])
        force, reflex = self._external_force(torque, hand[2])
        self.t += 1
        failure = self._failures(reflex, self._timeout.step(refused))
        assembled = self._assembled() & (failure == "")[:, None]
        success = assembled.all(-1)
        reward = (assembled & ~self._paid).sum(-1)
        self._paid |= assembled
        terminated = success | (failure != "")
        return StepResult(
            obs=self._observation(*hand),
            reward=reward.astype(np.float32),
            terminated=terminated,
            truncated=(self.t >= self.episode_steps) & ~terminated,
            success=success,
            failure=failure,
            force=force,
            refused=refused,
        )

    def _references(
        self, action: Array, q: Array, measured: tuple[Array, Array], refused: NDArray[np.bool_]
    ) -> tuple[Array, NDArray[np.bool_]]:
        """Joint controls of one policy step, which the actuators clip.

        Args:
            action: (N, A, 10), base frames.
            q: Measured joints (N, A, 7), rad.
            measured: Position (N, A, 3) m and R (N, A, 3, 3) of the hands.
            refused: (N,) which actions are refused already.

        Returns:
            Controls (N, K, A, 7); which environments stop (N,), also for their reference.
        """
        path, config = self._path, self.config
        held = path.q_ref, path.dq_ref
        at = measured[0].reshape(-1, 3), measured[1].reshape(-1, 3, 3)
        segment = path.step(action.reshape(-1, ACTION_DIM), q.reshape(-1, 7), at)
        q_ref, dq_ref = segment.sample(self._reference_times)
        broken = np.any(list(segment_violations(config, segment, at).values()), axis=0)
        refused = refused | broken.reshape(q.shape[:2]).any(-1)
        if refused.any():
            rows = self._path_rows(np.flatnonzero(refused))
            stop = stopping_segment(held[0][rows], held[1][rows], config.hold_duration_s)
            q_ref[rows], dq_ref[rows] = stop.sample(self._reference_times)
            # at 50 Hz the arm stops over several steps
            q_end, dq_end = stop.sample(np.array([config.step_s]))
            path.reset(rows, q_end[:, 0], dq_end[:, 0])
        control = (q_ref + self._lead_s * dq_ref).reshape(*q.shape[:2], -1, 7)
        return control.swapaxes(1, 2)[:, self._reference_of_substep], refused

    def _simulate(self, joints: Array, fingers: Array) -> Array:
        """Physics of one policy step; constraint torques on the joints (N, K, A, 7), N m.

        Args:
            joints: Controls (N, K, A, 7).
            fingers: Targets of the fingers (N, A, K), m.
        """
        arms = self._arms
        control = np.empty((self.num_envs, self._substeps, self._ctrl.shape[1]))
        control[:, :, arms.control], control[:, :, arms.hand] = joints, fingers.swapaxes(1, 2)
        return self._engine.rollout(control)[:, :, arms.dof]

    def _finger_controls(self, command: Array, refused: NDArray[np.bool_]) -> Array:
        """Finger targets (N, A, K), m, for commands (N, A): a ramp at the gripper's speed.

        It starts from the real opening.
        """
        rate = 0.5 * self.config.gripper_speed_m_s * self.model.opt.timestep
        opening = self.config.gripper_max_width_m / 2
        close = command > 0.0
        finger = self._qpos[:, self._arms.fingers].mean(-1)
        # a hand that changes its mind starts from where its fingers are, as the real one does
        start = np.where(
            close, np.minimum(self._finger_target, finger), np.maximum(self._finger_target, finger)
        )
        goal = np.where(close, FINGER_CLOSED_TARGET_M, opening)
        goal = np.where(refused[:, None], start, goal)
        steps = rate * np.arange(1, self._substeps + 1)
        reach = np.minimum(np.abs(goal - start)[..., None], steps)
        ramp = start[..., None] + np.sign(goal - start)[..., None] * reach
        self._finger_target = ramp[..., -1].copy()
        return ramp

    def _external_force(self, torque: Array, jac: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Largest filtered hand force (N,) and whether an arm would have reflexed (N,).

        Args:
            torque: Constraint torque on the joints (N, K, A, 7), N m.
            jac: Jacobians of the hands (N, A, 6, 7) at the end of the step.
        """
        filtered = filter_torque(self._torque, torque, self.model.opt.timestep)
        self._torque = filtered[:, -1]
        force = hand_force(filtered, jac)
        pushed = np.abs(force) > self.config.force_threshold_n
        twisted = np.abs(filtered) > self.config.torque_threshold_nm
        reflex = np.any(pushed, axis=(1, 2, 3)) | np.any(twisted, axis=(1, 2, 3))
        return norm(force).max((1, 2)), reflex

    def _failures(self, reflex: NDArray[np.bool_], held: NDArray[np.bool_]) -> NDArray[np.str_]:
        """Reason why an episode must end badly (N,), '' where it goes on."""
        q = self._qpos[:, self._arms.qpos]
        return find_failures(
            unstable=is_unstable(self._qpos, self._qvel, q, self._path.q_ref.reshape(q.shape)),
            thrown=is_thrown(self._qpos[:, self._part_pos], self._qvel[:, self._part_vel]),
            reflex=reflex,
            held=held,
        )

    def _assembled(self) -> NDArray[np.bool_]:
        """Which pairs of the task are assembled (N, P)."""
        done = []
        for pair in self.task.pairs:
            poses = []
            for start in (self._part_qpos[pair.parent], self._part_qpos[pair.child]):
                qpos = self._qpos[:, start : start + 7]
                poses += [qpos[:, :3], quat_wxyz_to_matrix(qpos[:, 3:])]
            done.append(pair_assembled(pair, *poses))
        return np.stack(done, axis=-1)


def _hold_action(pos: Array, rot: Array) -> Array:
    """Actions (N, A, 10) that ask for the measured poses (base frames), grippers open."""
    return encode_action(pos, rot, -np.ones(pos.shape[:-1]))
