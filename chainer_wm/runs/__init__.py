"""A run's folder, the command line, the loop over stages, what runs say together."""
