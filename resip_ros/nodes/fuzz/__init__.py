# SPDX-License-Identifier: Apache-2.0
"""Random and adversarial messages, parameters and transitions for the real nodes."""
