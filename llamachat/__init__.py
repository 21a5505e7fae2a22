"""llamachat: a terminal chat for Llama-family models that runs them itself."""

__version__ = "0.1.0"
