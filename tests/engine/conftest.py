"""A tiny model of random weights, on the real C core."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llamachat.engine.context import Context
from llamachat.engine.model import Model
from llamachat.engine.source import ModelSource
from tests.support.tiny_models import TinyShape, random_model, write_gguf


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_gguf(path, random_model(TinyShape(n_ctx=128, tied=False), seed=3), types="Q8_0")
    return path


@pytest.fixture(scope="session")
def model(tiny_path: Path) -> Iterator[Model]:
    model = Model.load(ModelSource(tiny_path, threads=2))
    yield model
    model.close()


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    context = Context(model)
    yield context
    context.close()
