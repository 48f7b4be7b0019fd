"""Keep quiet what libraries written in C++ print while they are imported.

TensorFlow 2.21 writes lines about CUDA and oneDNN to the standard error before any setting of its
log level counts; in a notebook they would stand above every result.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere; Python exceptions pass through unharmed."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
