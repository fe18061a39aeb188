# SPDX-License-Identifier: Apache-2.0
"""Scripted operators that assemble from part poses, with human-like imperfections."""
