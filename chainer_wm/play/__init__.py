"""Agents in games: lanes side by side, worker processes, recorded episodes, scores."""
