"""The program builder and random programs: public, in :mod:`dqt.testing`."""

from dqt.testing import Builder, Shape, extremes, inputs, random_program
from dqt.testing import random_instruction as some_instruction
from dqt.testing import random_layer as some_layer

__all__ = ["Builder", "Shape", "extremes", "inputs", "random_program", "some_instruction", "some_layer"]
