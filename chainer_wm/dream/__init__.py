"""The dream: M in the place of the game, for controllers and policies."""
