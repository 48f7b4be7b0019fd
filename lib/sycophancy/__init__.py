"""Measure, understand and reduce sycophancy in language models (Wei et al., arXiv 2308.03958)."""

__version__ = "0.1.0"
