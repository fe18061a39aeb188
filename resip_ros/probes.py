# SPDX-License-Identifier: Apache-2.0
"""Small trials of what a machine can do, each run by `resip doctor` in a process of its own.

Graphics drivers, DDS and the robot's protocol can crash or hang the process that tries them, so
the doctor starts `python -m resip_ros.probes NAME` and reads one line of JSON from it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

PINGS = 20
PING_TIMEOUT_S = 10.0


def probe_ros() -> dict[str, Any]:
    """Sends messages to a second process and back.

    Returns:
        Name of the middleware, and the median round trip in ms.
    """
    import rclpy
    from rclpy.utilities import get_rmw_implementation_identifier
    from std_msgs.msg import String

    topic = f"resip_doctor_{os.getpid()}"
    command = [sys.executable, "-m", "resip_ros.probes", "ros_echo", topic]
    echo = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    rclpy.init()
    node = rclpy.create_node("resip_doctor")
    try:
        received: list[str] = []
        publisher = node.create_publisher(String, f"{topic}/out", 10)
        node.create_subscription(String, f"{topic}/back", lambda m: received.append(m.data), 10)
        trips: list[float] = []
        deadline = time.monotonic() + PING_TIMEOUT_S
        while len(trips) < PINGS and time.monotonic() < deadline:
            sent = time.monotonic()
            publisher.publish(String(data=str(sent)))
            while time.monotonic() < min(sent + 0.2, deadline):
                rclpy.spin_once(node, timeout_sec=0.05)
                if received and received[-1] == str(sent):
                    trips.append(1e3 * (time.monotonic() - sent))
                    break
        if not trips:
            raise RuntimeError(f"no message came back from a second process in {PING_TIMEOUT_S} s")
        middleware = get_rmw_implementation_identifier()
        return {"middleware": middleware, "round_trip_ms": float(np.median(trips))}
    finally:
        echo.kill()
        echo.wait()
        node.destroy_node()
        rclpy.shutdown()


def probe_ros_echo(topic: str) -> dict[str, Any]:
    """Returns every message of the doctor's node until it is killed or its time is up."""
    import rclpy
    from std_msgs.msg import String

    rclpy.init()
    node = rclpy.create_node("resip_doctor_echo")
    publisher = node.create_publisher(String, f"{topic}/back", 10)
    node.create_subscription(String, f"{topic}/out", publisher.publish, 10)
    deadline = time.monotonic() + 2.0 * PING_TIMEOUT_S
    while time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    return {}


def probe_render() -> dict[str, Any]:
    """Draws the one_leg scene as the cameras do.

    Returns:
        The OpenGL backend, and the time of one picture in ms.
    """
    from resip_ros.sim.gl import find_backend
    from resip_ros.sim.render import Renderer

    with Renderer("one_leg") as renderer:
        picture = renderer.draw("front")
        start = time.perf_counter()
        for _ in range(5):
            renderer.draw("front")
        picture_ms = 1e3 * (time.perf_counter() - start) / 5
    if picture.std() < 1.0:
        raise RuntimeError("the picture came back blank")
    return {"backend": find_backend(), "picture_ms": picture_ms}


def probe_robot() -> dict[str, Any]:
    """Starts a simulated FR3 behind the robot's protocol and connects the robot client to it.

    Returns:
        Joint angles in rad as the client read them, and state messages per second.
    """
    import logging

    logging.disable(logging.WARNING)
    import franky
    from franky_sim import SimulationServer
    from franky_sim.mujoco_simulator import MujocoSimulator

    with MujocoSimulator() as simulator:
        handle = simulator.add_robot()
        with SimulationServer(simulator) as server:
            server.run_async()
            address = str(handle.hostname)
            robot = franky.Robot(address, realtime_config=franky.RealtimeConfig.Ignore)
            joints = [float(q) for q in robot.state.q]
            stamps = []
            for _ in range(2):
                stamps.append((time.monotonic(), robot.state.time.to_sec()))
                time.sleep(0.5)
    (wall_0, robot_0), (wall_1, robot_1) = stamps
    return {"joints": joints, "realtime_factor": (robot_1 - robot_0) / (wall_1 - wall_0)}


def probe_physics() -> dict[str, Any]:
    """Steps the one_leg scene at the robot's 1 kHz for about a second.

    Returns:
        Simulated steps per second of one core.
    """
    import mujoco

    from resip_ros.core.config import load_control_config
    from resip_ros.sim.scene import build_scene
    from resip_ros.sim.task_scene import TICK_S

    model = build_scene("one_leg", load_control_config(), timestep=TICK_S).compile()
    # Parts at rest are put to sleep; time the scene as it is while parts are handled.
    model.opt.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 200)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < 1.0:
        mujoco.mj_step(model, data, 50)
        steps += 50
    return {"steps_per_s": steps / (time.perf_counter() - start)}


def probe_policy(folder: str) -> dict[str, Any]:
    """Loads a policy folder with all its checks and times one chunk.

    Returns:
        Task, whether there is a residual, and the median time of a chunk in ms.
    """
    from pathlib import Path

    import torch

    from resip_ros.policy.bundle import load_policy

    torch.set_num_threads(1)
    policy = load_policy(Path(folder))
    generator = torch.Generator().manual_seed(0)
    low, high = policy.base.normalizer.obs_min, policy.base.normalizer.obs_max
    observation = np.asarray(0.5 * (low + high), dtype=np.float64)[None]
    times = []
    for _ in range(8):
        start = time.perf_counter()
        chunk = policy.base.predict_chunk(observation, generator)
        times.append(1e3 * (time.perf_counter() - start))
    if not np.isfinite(chunk).all():
        raise RuntimeError("the policy's chunk is not finite")
    return {
        "task": policy.task.name,
        "residual": policy.residual is not None,
        "chunk_ms": float(np.median(times[2:])),
    }


PROBES: dict[str, Callable[..., dict[str, Any]]] = {
    "ros": probe_ros,
    "ros_echo": probe_ros_echo,
    "render": probe_render,
    "robot": probe_robot,
    "physics": probe_physics,
    "policy": probe_policy,
}


def main() -> None:
    """Runs one probe and prints its result as the last line of standard output."""
    name, *arguments = sys.argv[1:]
    try:
        answer = {"result": PROBES[name](*arguments)}
    except Exception as error:  # noqa: BLE001 (whatever went wrong is the probe's finding)
        answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    # Client libraries leave threads that can block or crash a normal exit; the answer is out.
    os._exit(0)


if __name__ == "__main__":
    main()
