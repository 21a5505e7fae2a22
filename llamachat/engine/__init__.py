"""The model in use: evaluate, sample, stream."""
