"""Generated prompts mixed with instruction data (section 4.3), and their batches of token ids."""

from __future__ import annotations

from sycophancy.mixture.batches import (
    BatchShapes,
    Example,
    TrainingBatch,
    choose_shapes,
    make_batch,
    tokens,
)
from sycophancy.mixture.encoding import (
    check_tokens,
    encode,
    fitting,
    fitting_units,
    token_table,
    turn_end_ids,
)
from sycophancy.mixture.mixing import COLUMNS, KINDS, RATIO, check_ratio, limit, mix

__all__ = [
    "COLUMNS",
    "KINDS",
    "RATIO",
    "BatchShapes",
    "Example",
    "TrainingBatch",
    "check_ratio",
    "check_tokens",
    "choose_shapes",
    "encode",
    "fitting",
    "fitting_units",
    "limit",
    "make_batch",
    "mix",
    "token_table",
    "tokens",
    "turn_end_ids",
]
