"""Experiments on the operators: shifting against quantizing anew, integers against reals, the power-of-two rule."""
