"""dnc.engine."""
