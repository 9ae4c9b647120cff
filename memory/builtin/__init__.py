"""Collections of memories that come with the program, imported with `mneme memory import builtin:NAME`.

Each is a folder with its content and a `loader` that makes drafts of it; memory/archive/importers/registry.py knows their
names. Source: ours.
"""
