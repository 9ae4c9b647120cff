"""The fault tests serve as the API tests do."""

from tests.api.conftest import serve

__all__ = ["serve"]
