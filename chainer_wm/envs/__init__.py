"""Games as gym 0.26 environments, one file per game.

``reset(seed=) -> (observation, info)`` and ``step(action) -> (observation, reward, terminated,
truncated, info)``; what is observed is each game's own, (64, 64, 3) uint8 where V looks at it.
Each has ``settings`` and ``versions``, two dicts for manifests.
"""
