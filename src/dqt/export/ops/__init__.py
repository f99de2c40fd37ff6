"""Operators in ONNX, integers only: one file, one operator. ``OPERATOR`` is its class, ``add`` appends its nodes."""
