"""Run files: what is accepted, and that an error names the file, the key and what is allowed, in a line or two."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dqt.train.build import float_model, load_data, network, teacher
from dqt.train.models import digits_cnn
from dqt.train.recipe import ModelPart, Recipe, RecipeError, Run, load_run, run_from

MINIMAL = '[model]\nfactory = "dqt.train.models:digits_cnn"\n[data]\nspec = "digits"\n'

WRONG = [
    ("[model\n", r"not valid TOML: .*line 1"),
    ("", r"model: field required; data: field required"),
    (MINIMAL + "[recipe]\nlrr = 0.1\n", r"recipe\.lrr: unknown key; did you mean 'lr'\?"),
    (MINIMAL + "[recipe]\nfoo = 1\n", r"recipe\.foo: unknown key; known: epochs, batch_size"),
    (MINIMAL + "[network]\nwidth = [8]\n", r"network\.width: unknown key; did you mean 'widths'\?"),
    (MINIMAL + "[network]\ncontroller = { hiden = 3 }\n", r"network\.controller\.hiden: .*did you mean 'hidden'\?"),
    (MINIMAL + "[extra]\n", r"extra: unknown key; known: model, data, network, recipe, teacher, task"),
    (MINIMAL + "[recipe]\nlr = -1.0\n", r"recipe\.lr: input should be greater than 0 \(got -1\.0\)"),
    (MINIMAL + "[recipe]\nlr = nan\n", r"recipe\.lr: "),
    (MINIMAL + "[recipe]\nepochs = 'many'\n", r"recipe\.epochs: input should be a valid integer.*got 'many'"),
    (MINIMAL + "[recipe]\nconsistency = 'some'\n", r"recipe\.consistency: input should be 'all', 'sandwich' or 'none'"),
    (MINIMAL + "[recipe]\ngumbel_start = 0.1\n", r"gumbel_end 0\.5 is above gumbel_start 0\.1"),
    (MINIMAL + "[recipe]\nvalid_widths = [9]\n", r"recipe\.valid_widths \[9\] are not among network\.widths"),
    (MINIMAL + "[recipe]\nvalid_widths = [4, 4]\n", r"names a width twice"),
    (MINIMAL + "[network]\nmaster = 9\n", r"network\.master: input should be less than or equal to 8 \(got 9\)"),
    (MINIMAL + "[network]\nwidths = [2, 4]\n", r"widths \(2, 4\) must lie in 2\.\.8 and contain the master 8"),
    (MINIMAL.replace("dqt.train.models:digits_cnn", "no colon"), r"model\.factory: "),
    (MINIMAL + '[teacher]\nfactory = "m:f"\n', r"nothing learns from it, because recipe\.teacher is 'master'"),
    (MINIMAL + "[teacher]\nfactor = 'm:f'\n", r"teacher\.factor: unknown key; did you mean 'factory'\?"),
    (MINIMAL + "[recipe]\na = 1\nb = 1\nc = 1\n", r"; and 1 more"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_an_error_says_file_key_and_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        load_run(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_or_unreadable_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        load_run(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_run(tmp_path / "binary.toml")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    "name", sorted(each.name.removesuffix(".toml") for each in (files("dqt.train") / "recipes").iterdir())
)
def test_recipes_that_ship_are_valid_and_survive_as_plain_values(name: str) -> None:
    path = Path(str(files("dqt.train") / "recipes" / f"{name}.toml"))
    run = load_run(path)
    assert run_from(run.as_dict(), "again") == run


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().lr = 1.0


def test_a_run_becomes_data_and_a_network() -> None:
    run = run_from({"model": {"factory": "dqt.train.models:digits_cnn"}, "data": {"spec": "digits", "pad": 2}}, "here")
    splits = load_data(run)
    assert splits.train.augment.pad == 2
    assert not splits.train.augment.flip
    first, second = network(run, splits.train.shape), network(run, splits.train.shape)
    assert torch.equal(first.get_parameter("linear.weight"), second.get_parameter("linear.weight"))
    assert first.layers[0] == "conv1"


def test_weights_are_loaded_and_must_be_the_models_own(tmp_path: Path) -> None:
    path, factory = tmp_path / "w.safetensors", "dqt.train.models:digits_cnn"
    state = digits_cnn().state_dict()
    save_file(state, path)
    model = float_model(ModelPart(factory=factory, weights=str(path)))
    assert torch.equal(model.get_parameter("linear.weight"), state["linear.weight"])
    part = ModelPart(factory=factory, weights=str(path), args={"classes": 7})
    with pytest.raises(RecipeError, match="shapes differ from the model's: size mismatch for linear"):
        float_model(part)
    save_file({"linear.weight": state["linear.weight"], "extra": torch.zeros(1)}, path)
    with pytest.raises(RecipeError, match=r"misses conv1\.weight"):
        float_model(ModelPart(factory=factory, weights=str(path)))
    path.write_bytes(b"garbage")
    with pytest.raises(RecipeError, match="not a readable safetensors file"):
        float_model(ModelPart(factory=factory, weights=str(path)))
    with pytest.raises(RecipeError, match="no such file"):
        float_model(ModelPart(factory=factory, weights=str(tmp_path / "none.safetensors")))


def test_the_teacher_is_the_network_itself_or_a_section_of_its_own(tmp_path: Path) -> None:
    small, large = (float_model(ModelPart(factory=f"dqt.train.models:{name}")) for name in ("resnet20", "resnet56"))
    for name, model in (("small", small), ("large", large)):
        save_file(model.state_dict(), tmp_path / f"{name}.safetensors")
    part = {"factory": "dqt.train.models:resnet20", "weights": str(tmp_path / "small.safetensors")}
    other = {"factory": "dqt.train.models:resnet56", "weights": str(tmp_path / "large.safetensors")}
    run = {"model": part, "data": {"spec": "digits"}, "recipe": {"teacher": "float"}}
    x = torch.randn(2, 3, 32, 32)
    for sections, expected in ((run, small), (run | {"teacher": other}, large)):
        found = teacher(run_from(sections, "here"))
        assert found is not None
        assert not found.training
        assert torch.equal(found(x), expected.eval()(x))
    assert teacher(run_from(run | {"recipe": {}}, "here")) is None
    for sections, name in (
        (run | {"model": {"factory": part["factory"]}}, "model"),
        (run | {"teacher": {"factory": part["factory"]}}, "teacher"),
    ):
        with pytest.raises(RecipeError, match=rf"needs trained float weights: set {name}\.weights"):
            teacher(run_from(sections, "here"))
    with pytest.raises(RecipeError, match=r"teacher\.weights .*gone\.safetensors: no such file"):
        teacher(run_from(run | {"teacher": other | {"weights": "gone.safetensors"}}, "here"))


def test_a_factory_may_live_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from torch import nn\nNet = lambda: nn.Linear(2, 2)\nnumber = 3\nwrong = lambda: 3\n")
    assert isinstance(float_model(ModelPart(factory=f"{path}:Net")), nn.Linear)
    for factory, message in [
        (f"{path}:Other", "has no function or class 'Other'"),
        (f"{path}:number", "a int, which cannot be called"),
        (f"{path}:wrong", "returned a int, not an nn.Module"),
        (f"{tmp_path / 'none.py'}:Net", "cannot import"),
        ("no.such.module:Net", "cannot import 'no.such.module'"),
    ]:
        with pytest.raises(RecipeError, match=message):
            float_model(ModelPart(factory=factory))
    with pytest.raises(RecipeError, match=r"does not take \{'size': 3\}"):
        float_model(ModelPart(factory="dqt.train.models:digits_cnn", args={"size": 3}))


def test_a_run_defaults_to_the_documented_recipe() -> None:
    run = Run.model_validate({"model": {"factory": "a:b"}, "data": {"spec": "digits"}})
    assert run.recipe == Recipe()
