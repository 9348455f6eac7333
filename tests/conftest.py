"""Prepares Chainer before any test imports it."""

import dnc.runtime  # noqa: F401
