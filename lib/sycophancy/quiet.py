"""KerasHub and TensorFlow Datasets without their chatter, and without taking JAX's accelerator.

Both import TensorFlow. Version 2.21 of it writes lines about CUDA and oneDNN to the standard error
before any setting of its log level counts; in a notebook they would stand above every result.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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


def worth_saying(record: logging.LogRecord) -> bool:
    """Return whether a record is not Keras's word that attention runs without cuDNN.

    In bfloat16 on a GPU it tries cuDNN first, which knows no batch of caches with ends of their own
    (`jax.vmap`), prints a traceback for every layer, and goes on with XLA's, which is as exact.
    """
    return "Failed to apply cudnn implementation" not in record.getMessage()


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with silenced_stderr(), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # tqdm asks every notebook for ipywidgets; its text bar will do
    import keras_hub
    import tensorflow
    import tensorflow_datasets as tfds

    for kind in ("GPU", "TPU"):
        with suppress(RuntimeError, ValueError):  # already in use, or no such kind here
            tensorflow.config.set_visible_devices([], kind)
tfds.disable_progress_bar()
logging.getLogger("absl").setLevel(logging.ERROR)
logging.getLogger("absl").addFilter(worth_saying)

__all__ = ["keras_hub", "tensorflow", "tfds"]
