"""The models of torchvision and timm: one small member of every family, on small images."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from bench.models.networks.common import Case, Maker, floats, image
from dqt.testing.zoo import timm, torchvision

SIDE, CLASSES = 64, 10
CLASSIFIERS = """
alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 mnasnet0_5 mobilenet_v2
mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnet50 resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1
swin_t swin_v2_t vgg11 vgg11_bn wide_resnet50_2
"""
SEGMENTERS = ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")
VIDEO = {"r3d_18": 32, "mc3_18": 32, "r2plus1d_18": 32, "swin3d_t": 32}
LARGER = {
    "inception_v3": 96,
    "alexnet": 96,
    "inception_resnet_v2": 96,
    "inception_v4": 96,
    "haloregnetz_b": 224,
    "halonet_h1": 256,
    "deepseek_vit_412m": 56,
}
TIMM = """
test_byobnet convmixer_768_32 test_convnext cpubone_nano crossvit_tiny_240 csatv2 cs3darknet_focus_s cspnext_tiny
davit_tiny densenet121 dla46x_c dpn48b edgenext_xx_small test_efficientnet efficientvim_m1 efficientvit_b0
efficientvit_m0 fasternet_t0 fastvit_t8 focalnet_tiny_srf ghostnet_050 hardcorenas_b hgnetv2_b0 sam2_hiera_tiny
hrnet_w18_small iformer_t inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small lowformer_b0
test_mambaout poolformerv2_s12 mobilenetv3_small_050 mobilenetv5_base mobilevit_xxs mvitv2_tiny nasnetalarge
nextvit_small test_nfnet pnasnet5large pvt_v2_b0 rdnet_tiny regnetx_002 repghostnet_050 res2next50 resnest14d
test_resnet resnetv2_18 rexnet_100 selecsls42 legacy_seresnet18 sequencer2d_s shvit_s1 skresnet18 starnet_s050
swiftformer_xs tiny_vit_5m_224 tresnet_m twins_svt_small vgg11 test_vit legacy_xception xception41p
xcit_nano_12_p8_224 tf_mobilenetv3_small_minimal_100 mnasnet_small mixnet_s tinynet_e fbnetc_100 spnasnet_100
mobilenetv2_035 efficientnet_lite0 efficientnetv2_rw_t repvgg_a0 gernet_s resnet51q seresnet18 ecaresnet26t
gcresnet33ts haloregnetz_b mobilevitv2_050 poolformer_s12 convformer_s18 caformer_s18 dm_nfnet_f0 semnasnet_075
ghostnetv3_050 regnety_002 resnext26ts seresnext26d_32x4d skresnext50_32x4d convnextv2_atto test_efficientnet_gn
test_efficientnet_ln
"""
TIMM_SIZED = """
cait_xxs24_224 convit_tiny deit_tiny_patch16_224 efficientformerv2_s0 hiera_tiny_224 levit_128s test_coatnet
gmlp_ti16_224 nest_tiny pit_ti_224 swin_tiny_patch4_window7_224 swinv2_tiny_window16_256 swinv2_cr_tiny_224
tnt_s_legacy_patch16_224 visformer_tiny vit_tiny_r_s16_p8_224 test_vit_relpos vitamin_small_224 volo_d1_224
lambda_resnet26rpt_256 coatnet_pico_rw_224 vit_tiny_patch16_224 vit_small_patch16_rope_224 mixer_s32_224 resmlp_12_224
gmixer_12_224 deit3_small_patch16_224
"""
SHALLOW = {
    "beit_base_patch16_224": {"img_size": SIDE, "depth": 2},
    "deepseek_vit_412m": {"img_size": 56, "depth": 2},
    "gemma4_vit_167m": {"depth": 2},
    "naflexvit_base_patch16_parfac_gap": {"depth": 2},
    "qwen3_vit_88m": {"depth": 2},
    "samvit_base_patch16_224": {"img_size": SIDE, "depth": 3},
}
"""Models of more than 80 million parameters, with fewer of their equal blocks."""
HELD_TORCHVISION = ("mvit_v2_s",)
HELD_TIMM = (
    "halonet_h1", "vit_tiny_patch16_dinov3_qkvb", "repvit_m1", "ese_vovnet19b_slim_dw", "coat_tiny",
    "efficientformer_l1", "gcvit_xxtiny",
)  # fmt: skip
"""Of which nobody knows yet whether they go through: see :mod:`bench.models.networks.held`."""


def of_torchvision(name: str, side: int, **options: Any) -> Case:
    """A classifier or a segmenter."""
    return Case(torchvision().models.get_model(name, weights=None, **options).eval(), (image(side),))


def of_video(name: str, side: int) -> Case:
    """A network of clips ``[N, 3, T, H, W]``."""
    return Case(
        torchvision().models.get_model(name, weights=None).eval(),
        (floats(3, 16 if name == "mvit_v2_s" else 8, side, side),),
    )


def of_timm(name: str, side: int, **options: Any) -> Case:
    """A classifier of CLASSES classes."""
    return Case(timm().create_model(name, num_classes=CLASSES, **options).eval(), (image(side),))


class Detector(nn.Module):
    """The part of a detector before its boxes are sorted: features at several sizes, and a head on each."""

    def __init__(self, name: str) -> None:
        super().__init__()
        model = getattr(torchvision().models.detection, name)(weights=None, weights_backbone=None, num_classes=CLASSES)
        self.backbone, self.head = model.backbone, model.head

    def forward(self, x: Any) -> Any:
        """Features, then the head's dict of scores and boxes."""
        return self.head(list(self.backbone(x).values()))


def of_detector(name: str) -> Case:
    """A detector without its last step."""
    return Case(Detector(name).eval(), (image(SIDE),))


def models() -> dict[str, Maker]:
    """Every model by name."""
    made: dict[str, Maker] = {}
    for name in CLASSIFIERS.split():
        made[f"torchvision/{name}"] = partial(of_torchvision, name, LARGER.get(name, SIDE))
    made |= {f"torchvision/{name}": partial(of_torchvision, name, SIDE, weights_backbone=None) for name in SEGMENTERS}
    made["torchvision/vit_b_16"] = partial(of_torchvision, "vit_b_16", SIDE, image_size=SIDE)
    made["torchvision/maxvit_t"] = partial(of_torchvision, "maxvit_t", 224)
    made |= {f"torchvision/{name}": partial(of_video, name, side) for name, side in VIDEO.items()}
    for name in ("retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large", "fcos_resnet50_fpn"):
        made[f"torchvision/{name}"] = partial(of_detector, name)
    made |= {f"timm/{name}": partial(of_timm, name, LARGER.get(name, SIDE)) for name in TIMM.split()}
    made |= {f"timm/{name}": partial(of_timm, name, SIDE, img_size=SIDE) for name in TIMM_SIZED.split()}
    made |= {
        f"timm/{name}": partial(of_timm, name, LARGER.get(name, SIDE), **options) for name, options in SHALLOW.items()
    }
    return made


def held() -> dict[str, Maker]:
    """The models that are held out."""
    made: dict[str, Maker] = {f"torchvision/{name}": partial(of_video, name, 224) for name in HELD_TORCHVISION}
    return made | {f"timm/{name}": partial(of_timm, name, LARGER.get(name, SIDE)) for name in HELD_TIMM}
