"""One answer without a screen, for screen.py: as ``llamachat ask`` gives it, its figures as JSON on standard error.

``llamachat ask --json`` has the figures too, but computes a log-probability for every token, which costs a small model
three tokens in a hundred, and the screen has none.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from llamachat.cli.generation import OneModel, Printer
from llamachat.cli.requests import question
from llamachat.engine.settings import SamplingSettings
from llamachat.engine.source import ModelSource


def main() -> None:
    """``alone.py MODEL TOKENS THREADS PROMPT``; 0 threads: as many as the program takes by itself."""
    model_file, tokens, threads, prompt = sys.argv[1:]
    settings = SamplingSettings(temperature=0.0, max_tokens=int(tokens))
    with closing(OneModel(ModelSource(Path(model_file), threads=int(threads) or None))) as model:
        request = question(model.info, model.tokenizer, prompt, system="", format_name="",
                           max_tokens=settings.max_tokens, n_top=None, notify=print)  # fmt: skip
        answer = model.answer(request, settings, Printer())
    if answer.finished is None or answer.error:
        sys.exit(answer.error or "no answer")
    print(json.dumps(asdict(answer.finished.timings)), file=sys.stderr)


if __name__ == "__main__":
    main()
