"""The release, read by the packaging and by ``dqt.__version__``."""

__version__ = "0.1.0"
