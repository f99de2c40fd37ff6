"""Small float networks in plain PyTorch, ready for ``dqt.prepare``; names such as ``dqt.train.models:resnet20``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, channels, H, W]`` to ``[N, planes, H / stride, W / stride]``."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.skip(x))

    def skip(self, x: Tensor) -> Tensor:
        """``x`` in the shape of the result."""
        raise TypeError(f"{type(self).__name__} has no shortcut")


class Block(_Residual):
    """A shortcut without weights: every second pixel, new channels zero ("option A")."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__(channels, planes, stride)
        self.stride = stride
        self.extra = (planes - channels) // 2

    def skip(self, x: Tensor) -> Tensor:
        """``x``, or what is left of it, with channels of zeros."""
        if self.stride == 1 and not self.extra:
            return x
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra, self.extra))


class ResNet(nn.Module):
    """The CIFAR ResNet of He et al. (arXiv 1512.03385, section 4.2): three stages of ``blocks`` blocks."""

    def __init__(self, blocks: int, planes: Sequence[int] = (16, 32, 64), channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        first, second, third = planes
        self.conv1 = nn.Conv2d(channels, first, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _stage(first, first, blocks, 1)
        self.layer2 = _stage(first, second, blocks, 2)
        self.layer3 = _stage(second, third, blocks, 2)
        self.linear = nn.Linear(third, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[N, classes]`` of images ``[N, channels, H, W]``."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        logits: Tensor = self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))
        return logits


class ProjectedBlock(_Residual):
    """A shortcut that is a 1x1 convolution where the shape changes ("option B")."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__(channels, planes, stride)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != planes:
            self.shortcut.append(nn.Conv2d(channels, planes, 1, stride, bias=False)).append(nn.BatchNorm2d(planes))

    def skip(self, x: Tensor) -> Tensor:
        """``x`` through the 1x1 convolution, if there is one."""
        shortcut: Tensor = self.shortcut(x)
        return shortcut


class ResNet18(nn.Module):
    """ResNet-18 (arXiv 1512.03385, table 1) as it is used on CIFAR: a 3x3 stem of stride 1 and no max pooling."""

    def __init__(self, planes: Sequence[int] = (64, 128, 256, 512), channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes[0])
        before = (planes[0], *planes)
        stages = [
            nn.Sequential(ProjectedBlock(before[i], width, 2 if i else 1), ProjectedBlock(width, width, 1))
            for i, width in enumerate(planes)
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.linear = nn.Linear(planes[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[N, classes]`` of images ``[N, channels, H, W]``."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        logits: Tensor = self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))
        return logits


class Straight(nn.Module):
    """One 3x3 convolution with batch norm and ReLU; with a shortcut where neither size nor channels change."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, planes, 3, stride, 1, bias=False)
        self.bn = nn.BatchNorm2d(planes)
        self.shortcut = stride == 1 and channels == planes

    def forward(self, x: Tensor) -> Tensor:
        """``[N, channels, H, W]`` to ``[N, planes, H / stride, W / stride]``."""
        out: Tensor = self.bn(self.conv(x))
        return F.relu(out + x if self.shortcut else out)


class WideNet(nn.Module):
    """Few wide layers for small images: a stem and two stages of 3x3 convolutions, each of which begins with stride 2.

    ``blocks`` says how many convolutions with a shortcut follow in each stage.
    """

    def __init__(self, planes: Sequence[int], blocks: Sequence[int], channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        stem, first, second = planes
        self.stem = Straight(channels, stem, 2)
        self.layer1 = _wide_stage(stem, first, blocks[0])
        self.layer2 = _wide_stage(first, second, blocks[1])
        self.linear = nn.Linear(second, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[N, classes]`` of images ``[N, channels, H, W]``."""
        out = self.layer2(self.layer1(self.stem(x)))
        logits: Tensor = self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))
        return logits


def _wide_stage(channels: int, planes: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(Straight(channels, planes, 2), *(Straight(planes, planes, 1) for _ in range(blocks)))


def _stage(channels: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [Block(planes, planes, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Block(channels, planes, stride), *rest)


def resnet20(classes: int = 10) -> ResNet:
    """CIFAR ResNet-20 for ``[N, 3, 32, 32]``: 0.27 M weights, 41 M multiply-accumulates."""
    return ResNet(3, classes=classes)


def resnet56(classes: int = 10) -> ResNet:
    """CIFAR ResNet-56 for ``[N, 3, 32, 32]``: 0.85 M weights."""
    return ResNet(9, classes=classes)


def resnet18_cifar(classes: int = 10, planes: Sequence[int] = (64, 128, 256, 512), channels: int = 3) -> ResNet18:
    """ResNet-18 for ``[N, 3, 32, 32]``: 11.2 M weights, 0.56 G multiply-accumulates."""
    return ResNet18(planes, channels, classes)


def digits_cnn(classes: int = 10, planes: Sequence[int] = (16, 32, 64)) -> ResNet:
    """A residual CNN of one block a stage for the 8x8 digits, ``[N, 1, 8, 8]``."""
    return ResNet(1, planes, channels=1, classes=classes)


def fashion_cnn(classes: int = 10, planes: Sequence[int] = (16, 32, 64)) -> ResNet:
    """A residual CNN of two blocks a stage for Fashion-MNIST, ``[N, 1, 28, 28]``."""
    return ResNet(2, planes, channels=1, classes=classes)


def wide_cnn(
    classes: int = 10, planes: Sequence[int] = (64, 128, 192), blocks: Sequence[int] = (1, 1), channels: int = 3
) -> WideNet:
    """Five convolutions, most of them wide, for ``[N, 3, 32, 32]``: 0.78 M weights, 23 M multiply-accumulates."""
    return WideNet(planes, blocks, channels, classes)
