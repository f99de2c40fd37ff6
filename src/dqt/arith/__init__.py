"""Ground truth: the integer arithmetic of nested widths, and nothing else.

Everything here is written with operators and ``.clip`` alone, so that one function runs on Python integers
(where no ``.clip`` is needed), NumPy arrays and torch tensors of integer type. Equations are those of
docs/numerics.md.
"""
