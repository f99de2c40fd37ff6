"""The float world that mirrors arith: capturing a model, training it on nested widths, its exact integers in torch."""
