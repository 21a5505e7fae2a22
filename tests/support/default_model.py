"""Where the default model is, for the tests that need it. Import this before HOME is isolated: it asks for the
real user's data folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llamachat import paths

FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"

#: ``LLAMACHAT_TEST_MODEL``, or the file that ``llamachat pull`` fetches; it may be absent.
DEFAULT_MODEL = Path(os.environ.get("LLAMACHAT_TEST_MODEL") or paths.models_dir(paths.data_dir()) / FILE_NAME)

needs_default_model = pytest.mark.skipif(
    not DEFAULT_MODEL.is_file(),
    reason=f"needs the default model at {DEFAULT_MODEL}: llamachat pull (LLAMACHAT_TEST_MODEL names another file)",
)
