"""Fetch and convert the embedded model, as part of `make setup`."""

from __future__ import annotations

import sys

from sycophancy import gguf
from sycophancy.errors import InputError

if __name__ == "__main__":
    try:
        print(f"The embedded model is ready: {gguf.preset()}")
    except InputError as error:
        sys.exit(str(error))
