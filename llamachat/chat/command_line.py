"""What a person types: a command, or a message."""


def is_command(text: str) -> bool:
    """Whether typed text is a command: it begins with one slash (two slashes begin a message with one)."""
    return text.startswith("/") and not text.startswith("//")


def as_message(text: str) -> str:
    """Typed text as the message it means: the first of two leading slashes is taken off."""
    return text[1:] if text.startswith("//") else text


def as_typed(message: str) -> str:
    """A message as it is typed: the opposite of ``as_message``."""
    return f"/{message}" if message.startswith("/") else message
