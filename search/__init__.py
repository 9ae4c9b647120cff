"""Search over anything that can expand and evaluate. Empty so far; see the folder map in docs/architecture.md."""
