"""Supervised tasks over whole sequences, and the network that learns them."""
