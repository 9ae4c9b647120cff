"""`python -m api.cli` is `mneme`."""

from api.cli.app import main

main()
