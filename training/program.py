# SPDX-License-Identifier: Apache-2.0
"""How the command-line programs of training end."""

from __future__ import annotations

import sys
from collections.abc import Callable

from resip_ros.core.errors import ResipError


def run_program(name: str, work: Callable[[], object], interrupted: str = "interrupted") -> int:
    """Run a program; a wrong input or Ctrl-C ends it with one line, not a traceback.

    Args:
        name: Begins that line.
        work: Reads the command line and does everything.
        interrupted: Told after Ctrl-C.

    Returns:
        Exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    try:
        work()
    except ResipError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: {interrupted}", file=sys.stderr)
        return 130
    return 0
