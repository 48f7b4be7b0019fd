"""Import KerasHub without what its own imports print (it imports TensorFlow for its tokenizers)."""

from __future__ import annotations

import warnings

from sycophancy.silence import silenced_stderr

with silenced_stderr(), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # tqdm asks every notebook for ipywidgets; its text bar will do
    import keras_hub as keras_hub
