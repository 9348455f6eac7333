"""How each model and each agent learns, interrupted or not."""
