"""Proximal policy optimisation: networks, experience, learning."""
