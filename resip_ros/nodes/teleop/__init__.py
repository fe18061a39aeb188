# SPDX-License-Identifier: Apache-2.0
"""Operators' devices, and how what they say gets to the arm."""
