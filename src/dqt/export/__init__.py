"""Programs in the form of other tools: ONNX."""

from dqt.export.file import controller as controller
from dqt.export.file import onnx as onnx
from dqt.export.packages import ExportError as ExportError
