"""dnc.cpu."""
