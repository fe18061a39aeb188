# SPDX-License-Identifier: Apache-2.0
"""Policies in torch: networks, sampling, normalisation, bundles, the runtime."""
