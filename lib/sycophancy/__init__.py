"""Measure, understand and reduce sycophancy in language models (Wei et al., arXiv 2308.03958)."""

import os
import sys

__version__ = "0.1.0"

# Keras chooses its backend when it is first imported. One's own setting is kept, and refused by
# `models` where it is another backend.
if "keras" not in sys.modules:
    os.environ.setdefault("KERAS_BACKEND", "jax")
