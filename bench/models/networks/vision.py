"""Networks of images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.networks.common import Case, Maker, Written, block, conv, image, mlp


def unet_transposed() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        a = m.a(x)
        b = m.b(F.max_pool2d(a, 2))
        c = m.c(F.max_pool2d(b, 2))
        b = m.d(torch.cat([m.up1(c), b], 1))
        return m.head(m.e(torch.cat([m.up2(b), a], 1)))

    up = {"up1": nn.ConvTranspose2d(32, 16, 2, stride=2), "up2": nn.ConvTranspose2d(16, 8, 2, stride=2)}
    blocks = {"a": block(3, 8), "b": block(8, 16), "c": block(16, 32), "d": block(32, 16), "e": block(16, 8)}
    return Case(Written(forward, **blocks, **up, head=conv(8, 4, 1)), (image(),))


def _unet(mode: str, **options: Any) -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        a = m.a(x)
        b = m.b(F.max_pool2d(a, 2))
        up = F.interpolate(b, scale_factor=2, mode=mode, **options)
        return m.head(m.c(torch.cat([up, a], 1)))

    return Case(Written(forward, a=block(3, 8), b=block(8, 16), c=block(24, 8), head=conv(8, 2, 1)), (image(),))


def unet_bilinear() -> Case:
    return _unet("bilinear", align_corners=False)


def unet_bilinear_corners() -> Case:
    return _unet("bilinear", align_corners=True)


def unet_nearest() -> Case:
    return _unet("nearest")


def unet_sized() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        a = m.a(x)
        b = m.b(F.max_pool2d(a, 2))
        return m.head(F.interpolate(b, size=x.shape[-2:], mode="bilinear", align_corners=False) + m.skip(a))

    return Case(Written(forward, a=block(3, 8), b=block(8, 16), skip=conv(8, 16, 1), head=conv(16, 2, 1)), (image(),))


def yolo() -> Case:
    def forward(m: Any, x: Tensor) -> tuple[Tensor, ...]:
        c3 = m.c3(m.stem(x))
        c4 = m.c4(c3)
        c5 = m.c5(c4)
        p4 = m.p4(torch.cat([F.interpolate(c5, scale_factor=2.0), c4], 1))
        p3 = m.p3(torch.cat([F.interpolate(p4, scale_factor=2.0), c3], 1))
        return m.h3(p3), m.h4(p4), m.h5(c5)

    def down(i: int, o: int) -> nn.Module:
        return nn.Sequential(conv(i, o, stride=2, bias=False), nn.BatchNorm2d(o), nn.SiLU())

    body = {"stem": down(3, 8), "c3": down(8, 16), "c4": down(16, 32), "c5": down(32, 64)}
    neck = {"p4": block(96, 32), "p3": block(48, 16)}
    heads = {"h3": conv(16, 18, 1), "h4": conv(32, 18, 1), "h5": conv(64, 18, 1)}
    return Case(Written(forward, **body, **neck, **heads), (image(64),))


def yolo_decoded() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.head(m.body(x))
        n, _, h, w = y.shape
        y = y.view(n, 3, 7, h, w).permute(0, 1, 3, 4, 2)
        xy = (y[..., :2].sigmoid() * 2 - 0.5 + m.grid) * 8
        size = (y[..., 2:4].sigmoid() * 2) ** 2 * m.anchors
        return torch.cat([xy, size, y[..., 4:].sigmoid()], -1).view(n, -1, 7)

    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    grid = torch.stack([columns, rows], -1).float()[None, None]
    anchors = torch.tensor([[10.0, 13], [16, 30], [33, 23]]).view(1, 3, 1, 1, 2)
    body = nn.Sequential(block(3, 8, stride=2), block(8, 16, stride=2), block(16, 32, stride=2))
    return Case(Written(forward, body=body, head=conv(32, 21, 1), grid=grid, anchors=anchors), (image(32),))


def ssd() -> Case:
    def forward(m: Any, x: Tensor) -> dict[str, Tensor]:
        features = [m.a(x)]
        features.append(m.b(features[0]))
        boxes = [
            head(f).permute(0, 2, 3, 1).reshape(f.shape[0], -1, 4) for head, f in zip(m.box, features, strict=True)
        ]
        score = [
            head(f).permute(0, 2, 3, 1).reshape(f.shape[0], -1, 5) for head, f in zip(m.cls, features, strict=True)
        ]
        return {"boxes": torch.cat(boxes, 1), "scores": torch.cat(score, 1).softmax(-1)}

    heads = {n: nn.ModuleList([conv(16, 2 * k), conv(32, 2 * k)]) for n, k in (("box", 4), ("cls", 5))}
    return Case(Written(forward, a=block(3, 16, stride=4), b=block(16, 32, stride=2), **heads), (image(),))


def superresolution() -> Case:
    layers = conv(1, 32, 5), nn.Tanh(), conv(32, 16), nn.Tanh(), conv(16, 9), nn.PixelShuffle(3)
    return Case(nn.Sequential(*layers), (image(24, 1),))


def edsr() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.head(x - m.mean)
        y = x
        for each in m.body:
            y = y + each(y) * 0.1
        return m.tail(m.up(x + y)) + m.mean

    body = nn.ModuleList(nn.Sequential(conv(16, 16), nn.ReLU(True), conv(16, 16)) for _ in range(2))
    up = nn.Sequential(conv(16, 64), nn.PixelShuffle(2))
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)
    return Case(Written(forward, head=conv(3, 16), body=body, up=up, tail=conv(16, 3), mean=mean), (image(16),))


def dncnn() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        return x - m.noise(x)

    return Case(
        Written(forward, noise=nn.Sequential(conv(1, 16), nn.ReLU(), block(16, 16), conv(16, 1))), (image(24, 1),)
    )


def autoencoder() -> Case:
    down = conv(3, 8, stride=2), nn.ReLU(), conv(8, 16, stride=2), nn.ReLU()
    up = nn.ConvTranspose2d(16, 8, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Sigmoid()
    return Case(nn.Sequential(*down, *up), (image(),))


def vae_encoder() -> Case:
    def forward(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        h = m.body(x)
        return m.mean(h), m.log_var(h)

    body = nn.Sequential(block(3, 8, stride=2), block(8, 16, stride=2), nn.Flatten())
    return Case(Written(forward, body=body, mean=nn.Linear(1024, 8), log_var=nn.Linear(1024, 8)), (image(),))


def dcgan() -> Case:
    up = nn.ConvTranspose2d(16, 32, 4, 1, 0, bias=False), nn.BatchNorm2d(32), nn.ReLU(True)
    more = nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(True)
    last = nn.ConvTranspose2d(16, 3, 4, 2, 1, bias=False), nn.Tanh()
    return Case(nn.Sequential(*up, *more, *last), (torch.randn(3, 16, 1, 1),))


def cbam() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        average, largest = F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)
        x = x * torch.sigmoid(m.mlp(average) + m.mlp(largest))
        spatial = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        x = x * torch.sigmoid(m.spatial(spatial))
        return m.head(x.mean((2, 3)))

    squeeze = nn.Sequential(conv(16, 4, 1), nn.ReLU(), conv(4, 16, 1))
    return Case(
        Written(forward, stem=block(3, 16), mlp=squeeze, spatial=conv(2, 1, 7), head=nn.Linear(16, 5)), (image(),)
    )


def fpn() -> Case:
    def forward(m: Any, x: Tensor) -> dict[str, Tensor]:
        c2 = m.c2(x)
        c3 = m.c3(c2)
        p3 = m.l3(c3)
        p2 = m.l2(c2) + F.interpolate(p3, size=c2.shape[-2:], mode="nearest")
        return {"p2": m.o2(p2), "p3": m.o3(p3)}

    body = {"c2": block(3, 8, stride=2), "c3": block(8, 16, stride=2), "l2": conv(8, 16, 1), "l3": conv(16, 16, 1)}
    return Case(Written(forward, **body, o2=conv(16, 16), o3=conv(16, 16)), (image(),))


def aspp() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        pooled = F.interpolate(m.pool(x), size=x.shape[-2:], mode="bilinear", align_corners=False)
        y = m.head(torch.cat([*(each(x) for each in m.branches), pooled], 1))
        return F.interpolate(y, scale_factor=4, mode="bilinear", align_corners=False)

    branches = nn.ModuleList(block(16, 8, padding=d, dilation=d) for d in (1, 2, 4))
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(16, 8, 1), nn.ReLU())
    return Case(
        Written(forward, stem=block(3, 16, stride=4), branches=branches, pool=pool, head=conv(32, 4, 1)), (image(),)
    )


def group_norm_resnet() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = F.relu(m.n1(m.c1(x)))
        x = F.relu(x + m.n2(m.c2(x)))
        return m.head(x.mean((-2, -1)))

    norms = {"n1": nn.GroupNorm(4, 16), "n2": nn.GroupNorm(4, 16)}
    return Case(Written(forward, c1=conv(3, 16), c2=conv(16, 16), **norms, head=nn.Linear(16, 5)), (image(),))


def instance_norm_style() -> Case:
    down = (
        conv(3, 8),
        nn.InstanceNorm2d(8, affine=True),
        nn.ReLU(),
        conv(8, 16, stride=2),
        nn.InstanceNorm2d(16),
        nn.ReLU(),
    )
    up = nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), conv(16, 3, padding=0)
    return Case(nn.Sequential(*down, *up), (image(16),))


def weight_norm_net() -> Case:
    weight_norm = nn.utils.parametrizations.weight_norm
    layers = weight_norm(conv(3, 8)), nn.ELU(), weight_norm(conv(8, 8)), nn.ELU(), nn.Flatten(), nn.Linear(8 * 256, 5)
    return Case(nn.Sequential(*layers), (image(16),))


def spectral_norm_net() -> Case:
    spectral_norm = nn.utils.parametrizations.spectral_norm
    layers = spectral_norm(conv(3, 8, stride=2)), nn.LeakyReLU(0.2), spectral_norm(conv(8, 1, 4)), nn.Flatten()
    return Case(nn.Sequential(*layers), (image(16),))


def prelu_net() -> Case:
    layers = conv(3, 8), nn.PReLU(8), conv(8, 8), nn.PReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    return Case(nn.Sequential(*layers), (image(),))


def activations_net() -> Case:
    acts = nn.Mish(), nn.Softplus(), nn.SELU(), nn.CELU(), nn.Hardswish(), nn.GELU(approximate="tanh"), nn.Softsign()
    return Case(nn.Sequential(*(m for a in acts for m in (mlp(12, 12), a)), nn.Linear(12, 3)), (torch.randn(3, 12),))


def siamese() -> Case:
    def forward(m: Any, a: Tensor, b: Tensor) -> Tensor:
        return m.head((m.body(a) - m.body(b)).abs())

    body = nn.Sequential(block(1, 8, stride=2), block(8, 16, stride=2), nn.Flatten(), nn.Linear(256, 16))
    return Case(Written(forward, body=body, head=nn.Linear(16, 1)), (image(16, 1), image(16, 1).flip(0)))


def two_inputs() -> Case:
    def forward(m: Any, picture: Tensor, table: Tensor) -> Tensor:
        return m.head(torch.cat([m.body(picture).mean((2, 3)), F.relu(m.table(table))], 1))

    parts = {"body": block(3, 8), "table": nn.Linear(6, 8), "head": nn.Linear(16, 5)}
    return Case(Written(forward, **parts), (image(16), torch.randn(3, 6)))


def dict_output() -> Case:
    def forward(m: Any, x: Tensor) -> dict[str, Tensor]:
        features = m.body(x)
        return {"logits": m.head(features.flatten(1)), "features": features}

    return Case(Written(forward, body=block(3, 8, stride=2), head=nn.Linear(512, 5)), (image(16),))


def recurrent_conv() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = m.stem(x)
        for _ in range(3):
            h = F.relu(m.step(h) + h)
        return m.head(h.mean((2, 3)))

    return Case(Written(forward, stem=block(3, 8), step=conv(8, 8), head=nn.Linear(8, 5)), (image(16),))


def convnet_3d() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.body(x).mean((2, 3, 4)))

    layers = nn.Conv3d(1, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(8, 16, 3)
    return Case(
        Written(forward, body=nn.Sequential(*layers, nn.ReLU()), head=nn.Linear(16, 5)), (torch.randn(3, 1, 8, 8, 8),)
    )


def time_distributed() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        n, t = x.shape[:2]
        y = m.body(x.flatten(0, 1)).mean((2, 3))
        return m.head(y.view(n, t, -1).flatten(1))

    frames = torch.stack([image(16, 1), image(16, 1).flip(2), image(16, 1).flip(3), image(16, 1).mT], 1)
    return Case(
        Written(forward, body=nn.Sequential(block(1, 8, stride=2), block(8, 8)), head=nn.Linear(32, 5)), (frames,)
    )


def video_transformer() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        n, t = x.shape[:2]
        y = m.patch(x.reshape(n * t, *x.shape[2:])).flatten(2).transpose(1, 2)
        y = m.space(y + m.position).mean(1)
        return m.head(m.time(y.reshape(n, t, -1)).mean(1))

    layer = {n: nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for n in ("space", "time")}
    frames = torch.stack([image(16), image(16).flip(2)], 1)
    parts = {
        "patch": nn.Conv2d(3, 16, 4, 4),
        "position": nn.Parameter(torch.randn(1, 16, 16) * 0.1),
        "head": nn.Linear(16, 5),
    }
    return Case(Written(forward, **parts, **layer), (frames,))


def grid_sampler() -> Case:
    def forward(m: Any, x: Tensor) -> Tensor:
        theta = m.place(x.mean((2, 3))).view(-1, 2, 3)
        return m.body(F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False))

    return Case(Written(forward, place=nn.Linear(3, 6), body=conv(3, 4)), (image(16),))


NETWORKS: tuple[Maker, ...] = (
    unet_transposed, unet_bilinear, unet_bilinear_corners, unet_nearest, unet_sized, yolo, yolo_decoded, ssd,
    superresolution, edsr, dncnn, autoencoder, vae_encoder, dcgan, cbam, fpn, aspp, group_norm_resnet,
    instance_norm_style, weight_norm_net, spectral_norm_net, prelu_net, activations_net, siamese, two_inputs,
    dict_output,
    recurrent_conv, convnet_3d, time_distributed, video_transformer, grid_sampler,
)  # fmt: skip
