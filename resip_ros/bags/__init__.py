# SPDX-License-Identifier: Apache-2.0
"""Recorded episodes: rosbag2 folders written, read, rescued and reviewed without ROS."""
