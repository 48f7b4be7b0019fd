"""Generated prompts mixed with instruction data (section 4.3), and their batches of token ids."""

from __future__ import annotations

from sycophancy.mixture.batches import Batch, Example, Shapes, batch, shapes, tokens
from sycophancy.mixture.encoding import (
    check_tokens,
    encode,
    fitting,
    fitting_units,
    token_table,
    turn_end_ids,
)
from sycophancy.mixture.mixing import COLUMNS, KINDS, RATIO, check, limit, mix

__all__ = [
    "COLUMNS",
    "KINDS",
    "RATIO",
    "Batch",
    "Example",
    "Shapes",
    "batch",
    "check",
    "check_tokens",
    "encode",
    "fitting",
    "fitting_units",
    "limit",
    "mix",
    "shapes",
    "token_table",
    "tokens",
    "turn_end_ids",
]
