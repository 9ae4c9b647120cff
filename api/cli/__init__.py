"""The command line, `mneme`: one module per group of commands, `app.py` puts them together. Source: contract §2."""

from api.cli.app import main

__all__ = ["main"]
