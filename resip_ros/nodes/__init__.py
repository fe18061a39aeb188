# SPDX-License-Identifier: Apache-2.0
"""ROS 2 nodes: one a file, thin. They translate between messages and the functions of core."""
