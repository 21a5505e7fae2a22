"""``llamachat`` and ``python -m llamachat``: a Ctrl-C before the program itself can answer one ends it quietly."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Imports the command line and runs it."""
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from llamachat.cli.main import main as run  # takes a while: the reason for all this

    signal.signal(signal.SIGINT, before)
    run()


if __name__ == "__main__":
    main()
