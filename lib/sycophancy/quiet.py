"""Import KerasHub without what its own imports print.

KerasHub imports TensorFlow for its tokenizers. TensorFlow 2.21 then writes five lines about CUDA
and oneDNN to the standard error, before any setting of its log level counts; in a notebook they
would stand above every result.
"""

from __future__ import annotations

import os
import sys
import warnings
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


with silenced_stderr(), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # tqdm asks every notebook for ipywidgets; its text bar will do
    import keras_hub as keras_hub
