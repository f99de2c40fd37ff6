"""Training: data, small models, recipes, the objective, checkpoints and the loop. Defines no numerics of its own."""
