"""ModelRollout: releases new versions of machine-learning models safely, judged by their own metrics."""

__all__ = ["__version__"]

__version__ = "0.1.0"
"""As in pyproject.toml; the image has the package's files without its metadata."""
