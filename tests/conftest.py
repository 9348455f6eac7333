"""Prepares Chainer before any test imports it."""

from dnc import runtime  # noqa: F401
