# SPDX-License-Identifier: Apache-2.0
"""ResiP on ROS 2: a frozen diffusion policy, a per-step residual, and a Franka arm."""
