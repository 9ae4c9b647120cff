"""The MemCube store. Empty so far: the foundation runs without memory; see the folder map in docs/architecture.md."""
