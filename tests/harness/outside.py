# SPDX-License-Identifier: Apache-2.0
"""outside.py -- programs that users write, built as they would build them."""

import shlex
import shutil

from harness.cell import ENVIRONMENT
from harness.tap import Skip

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")


def compiler(library, variable="CC", default="cc"):
    """The command for C (or for CXX), with what linking this library takes besides."""
    command = shlex.split(ENVIRONMENT.get(variable, "")) or [default]
    if shutil.which(command[0]) is None:
        raise Skip(f"there is no {command[0]}")
    if b"__asan_init" in library.read_bytes():  # Who links it needs the runtime as well.
        command.append("-fsanitize=address,undefined")
    return command
