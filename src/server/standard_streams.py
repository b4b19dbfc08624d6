"""Standard output and standard error of a command, where they may be closed (`>&-`, or as whoever started it left them)."""

from __future__ import annotations

import os
import sys

STDOUT, STDERR = 1, 2
"""Their file descriptors."""


def fill_standard_descriptors() -> None:
    """Where one of the first three was closed no socket or file may take its place."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(fd)


def have_standard_error() -> None:
    """What is said there, and nobody can hear, goes nowhere. Python prints it on standard output otherwise."""
    fill_standard_descriptors()
    if sys.stderr is None:
        sys.stderr = os.fdopen(STDERR, "w", closefd=False)


def have_standard_output() -> None:
    """So does what is written there."""
    fill_standard_descriptors()
    if sys.stdout is None:
        sys.stdout = os.fdopen(STDOUT, "w", closefd=False)
