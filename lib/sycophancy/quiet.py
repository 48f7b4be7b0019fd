"""Import KerasHub without what its own imports print (it imports TensorFlow for its tokenizers)."""

from __future__ import annotations

import logging
import warnings

from sycophancy.silence import silenced_stderr

with silenced_stderr(), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # tqdm asks every notebook for ipywidgets; its text bar will do
    import keras_hub as keras_hub


def worth_saying(record: logging.LogRecord) -> bool:
    """Return whether a record is not Keras's word that attention runs without cuDNN.

    In bfloat16 on a GPU it tries cuDNN first, which knows no batch of caches with ends of their own
    (`jax.vmap`), prints a traceback for every layer, and goes on with XLA's, which is as exact.
    """
    return "Failed to apply cudnn implementation" not in record.getMessage()


logging.getLogger("absl").addFilter(worth_saying)
