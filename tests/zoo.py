"""torchvision and timm beside any build of torch: public, in :mod:`dqt.testing.zoo`."""

from dqt.testing.zoo import timm, torchvision

__all__ = ["timm", "torchvision"]
