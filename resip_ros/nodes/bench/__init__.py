# SPDX-License-Identifier: Apache-2.0
"""Evaluation of policies on a bench: the same starts for each, every trial recorded."""
