"""TensorFlow Datasets without its chatter, and without taking the accelerator from JAX."""

from __future__ import annotations

import logging
import os

from sycophancy.silence import silenced_stderr

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with silenced_stderr():
    import tensorflow
    import tensorflow_datasets as tfds

for kind in ("GPU", "TPU"):
    try:
        tensorflow.config.set_visible_devices([], kind)
    except (RuntimeError, ValueError):  # already in use, or no such kind here
        logging.getLogger(__name__).debug("TensorFlow keeps its %s devices", kind)
tfds.disable_progress_bar()
logging.getLogger("absl").setLevel(logging.ERROR)

__all__ = ["tensorflow", "tfds"]
