# SPDX-License-Identifier: Apache-2.0
"""Pure functions and plain dataclasses that training and robot share (numpy only)."""
