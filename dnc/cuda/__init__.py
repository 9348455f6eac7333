"""dnc.cuda."""
