"""``python -m llamachat`` is the ``llamachat`` command."""

from llamachat.cli.main import main

if __name__ == "__main__":
    main()
