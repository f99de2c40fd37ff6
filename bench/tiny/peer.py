"""Runs an int8 file ``argv[1]`` in TensorFlow Lite Micro's interpreter ``argv[2]`` times; prints its arena's bytes."""

import sys

import numpy as np
from tflite_micro.python.tflite_micro import runtime

interpreter = runtime.Interpreter.from_file(sys.argv[1])
details = interpreter.get_input_details(0)
x = np.random.default_rng(0).integers(-128, 128, details["shape"]).astype(np.int8)
for _ in range(int(sys.argv[2])):
    interpreter.set_input(x, 0)
    interpreter.invoke()
interpreter.print_allocations()
