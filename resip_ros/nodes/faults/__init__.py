# SPDX-License-Identifier: Apache-2.0
"""The fault bench: `resip faults` breaks a running simulated stack and watches the arm."""
