"""Programs and networks to test and to measure with.

:class:`Builder` writes an integer program instruction by instruction with random legal constants;
:func:`random_program`, :func:`random_late`, :func:`random_model` and :func:`random_transformer` write a whole one
from a seed; :func:`inputs` and :func:`extremes` make samples for it. Any executor of programs can be tested with them
against :func:`dqt.interpret`. These need no torch. Float networks to quantize are in :mod:`dqt.testing.networks`, and
the model zoos in :mod:`dqt.testing.zoo`; both need torch. :mod:`dqt.testing.installed` lists what a wheel needs.
"""

from dqt.testing.attention import random_transformer
from dqt.testing.builder import Builder
from dqt.testing.draw import Shape
from dqt.testing.late import random_late
from dqt.testing.programs import extremes, inputs, random_instruction, random_layer, random_model, random_program

__all__ = [
    "Builder",
    "Shape",
    "extremes",
    "inputs",
    "random_instruction",
    "random_late",
    "random_layer",
    "random_model",
    "random_program",
    "random_transformer",
]
