# SPDX-License-Identifier: Apache-2.0
import time

import pytest
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from resip_ros.nodes import first_pictures, topics
from resip_ros.nodes.first_pictures import wait_for_pictures
from resip_ros.nodes.launcher import NodeCrashed
from resip_ros.nodes.readiness import TookTooLong

CAMERAS = ("front", "wrist")


@pytest.fixture
def nodes(graph):
    names = ("operator", "camera", "recorder")
    return [graph.add(Node(name, namespace="fr3")) for name in names]


def waiting(graph, step, timeout_s=20.0):
    """As the operator waits; ``step`` is called in each round."""

    def wait(done, _, what):
        end_s = time.monotonic() + timeout_s
        while not done():
            graph.executor.spin_once(timeout_sec=0.02)
            step()
            if time.monotonic() > end_s:
                raise TookTooLong(f"{what} took longer")

    return wait


@pytest.mark.ros
def test_every_camera_and_the_recorder_are_waited_for(nodes, graph):
    operator, camera, recorder = nodes
    told, sent = [], []
    outputs = {
        name: camera.create_publisher(CameraInfo, topics.info(name), topics.image_qos())
        for name in CAMERAS
    }

    def step():
        # one after the other, each until it is heard
        if all(p.get_subscription_count() for p in outputs.values()) and len(sent) < 2:
            outputs[CAMERAS[len(sent)]].publish(CameraInfo())
            sent.append(time.monotonic())
        if len(sent) == 2 and time.monotonic() > sent[1] + 0.3 and not told:
            told.append("recorder listens")
            for name in CAMERAS:
                recorder.create_subscription(
                    Image, topics.image(name), lambda _: None, topics.image_qos()
                )

    wait_for_pictures(operator, CAMERAS, "recorder", waiting(graph, step))
    assert len(sent) == 2
    assert told
    # nothing is left that would cost time in every picture
    assert operator.count_subscribers(topics.info("front")) == 0


@pytest.mark.ros
def test_a_silent_camera_is_named_and_the_run_goes_on(nodes, graph, capfd):
    operator, camera, _ = nodes
    front = camera.create_publisher(CameraInfo, topics.info("front"), topics.image_qos())

    def step():
        front.publish(CameraInfo())

    wait_for_pictures(operator, CAMERAS, "", waiting(graph, step, timeout_s=1.0))
    assert "going on without pictures of wrist" in capfd.readouterr().err
    assert first_pictures.TIMEOUT_S < 60.0


@pytest.mark.ros
def test_a_crash_of_the_graph_ends_the_wait(nodes, graph):
    def step():
        raise NodeCrashed("sim_world ended")

    with pytest.raises(NodeCrashed):
        wait_for_pictures(nodes[0], CAMERAS, "", waiting(graph, step))
