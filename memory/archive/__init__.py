"""Vaults as files, in both directions."""
