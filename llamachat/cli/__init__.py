"""The commands, and line mode."""
