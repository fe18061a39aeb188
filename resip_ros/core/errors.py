# SPDX-License-Identifier: Apache-2.0
"""Errors a user can act on. Message order: subject, got, expected, what to do next."""


class ResipError(Exception):
    """Root of all errors that a user can mend."""


class ConfigError(ResipError):
    """A configuration value, name or file is wrong."""


class DataError(ResipError):
    """A dataset, message or recording does not have the expected content."""


class StaleStreamError(ResipError):
    """A required input is missing or too old to act on."""


class CheckpointMismatch(ResipError):
    """A policy bundle is damaged or belongs to another task, specification or base."""


class UnsafeCommand(ResipError):
    """A command that must not reach the arm."""


class CameraError(ResipError):
    """A camera cannot be opened or gives no pictures."""
