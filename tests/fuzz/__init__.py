"""Changes of known meaning to everything that voxhint reads, and what it may make of them."""
