"""Real models with random weights, from the float module to integers: which go through, and what stops the others."""
