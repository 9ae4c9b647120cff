"""The MemCube store: what people and agents remember. Its only door is memory/service.py; docs/memory.md says what it means."""
