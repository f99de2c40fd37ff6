"""Experiments on the operators: shifts against quantizers, integers against real numbers, the power-of-two rule."""
