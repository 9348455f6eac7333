"""What acts: fixed policies, C and its evolution by CMA-ES, V + M + C, PPO, RND."""
