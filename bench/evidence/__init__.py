"""Trained networks: recipes, training, evaluation and timing, one record for each run. docs/results.md shows them."""
