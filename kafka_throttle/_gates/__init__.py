"""The gate, compiled and in pure Python: where each record goes first. What decides how far it opens is in `_core`."""
