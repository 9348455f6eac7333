"""Kernels for the CPU; each has a twin of the same name in ``gpu``."""

from chainer_wm.functions.lstm_cpu import lstm_activate, lstm_backward, lstm_forward
from chainer_wm.functions.mixture_cpu import mixture_loss, sample_mixture

__all__ = ['lstm_activate', 'lstm_backward', 'lstm_forward', 'mixture_loss', 'sample_mixture']
