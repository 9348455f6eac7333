"""Looks into rollout stores and runs: ``python -m chainer_wm.inspector PATH``.

``summaries`` gathers numbers as plain values, ``report`` words them, ``verify`` rereads every
byte, ``pictures`` draws single episodes.
"""
