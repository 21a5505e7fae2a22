"""The folder of real small models and tokenizer data, which is not part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

#: The folder; it may be absent. ``LLAMACHAT_SHARED`` names another than the one beside the checkout.
SHARED = Path(os.environ.get("LLAMACHAT_SHARED") or Path(__file__).resolve().parents[3] / "shared")
MODELS = SHARED / "models"

needs_shared = pytest.mark.skipif(
    not MODELS.is_dir(), reason=f"needs the models of {MODELS} (LLAMACHAT_SHARED names another folder)"
)


def shared_model(relative: str) -> Path:
    """The path of a file under ``models``; skips the calling test where it is absent."""
    path = MODELS / relative
    if not path.exists():
        pytest.skip(f"needs {path} (LLAMACHAT_SHARED names another folder)")
    return path
