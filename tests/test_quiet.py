"""What libraries print that says nothing."""

from __future__ import annotations

import logging

import pytest

from sycophancy.quiet import keras_hub


def test_a_fallback_of_attention_is_not_told_and_everything_else_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert keras_hub.__version__
    log = logging.getLogger("absl")
    log.error("Failed to apply cudnn implementation of jax.nn.dot_product_attention.")
    log.error("Failed to apply xla implementation of jax.nn.dot_product_attention.")
    assert [record.getMessage()[:19] for record in caplog.records] == ["Failed to apply xla"]
