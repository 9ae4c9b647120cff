"""The MemCube store: what people and agents remember. service.py is its only door; docs/memory.md says what it means."""
