"""Files of any kind: texts are read up to a limit, and new files appear whole or not at all."""
