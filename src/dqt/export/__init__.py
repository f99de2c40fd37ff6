"""Programs in the form of other tools: ONNX, and C99 for microcontrollers."""

from dqt.export.c99.write import c as c
from dqt.export.file import controller as controller
from dqt.export.file import onnx as onnx
from dqt.export.packages import ExportError as ExportError
