# SPDX-License-Identifier: Apache-2.0
"""MuJoCo scenes: arm, parts, tasks, success tests, rendering."""
