# SPDX-License-Identifier: Apache-2.0
"""Offline training: environments, demonstrators, behaviour cloning, residual learning."""
