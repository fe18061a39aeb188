# SPDX-License-Identifier: Apache-2.0
"""The arm and the gripper, real or simulated: franky on this side, FCI on the other."""
