"""Model-written Python, shut in. The contract is in base.py."""
