"""The suites that are built in; see evals/registry.py."""
