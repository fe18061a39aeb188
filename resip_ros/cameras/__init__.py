# SPDX-License-Identifier: Apache-2.0
"""Cameras, their pictures, and tags in them; no ROS."""
