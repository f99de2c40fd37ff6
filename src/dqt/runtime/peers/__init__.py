"""Other engines, built from the same program for comparison: ONNX Runtime, OpenVINO, LiteRT."""

from dqt.runtime.peers.engines import PEERS as PEERS
from dqt.runtime.peers.engines import bind as bind
from dqt.runtime.peers.engines import version as version
from dqt.runtime.peers.onnx_model import onnx_model as onnx_model
from dqt.runtime.peers.reals import PeerError as PeerError
