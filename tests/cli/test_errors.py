"""Bad input: one or two lines on standard error that say what, where and what to do; nothing on standard output."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import dqt
from dqt.cli import main
from dqt.cli.errors import describe, stoppable

from .conftest import RECIPE, Answer, Call

MODELS = """
import torch
from torch import nn

class Sorted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.linear = nn.Linear(4, 10)
    def forward(self, x):
        return self.linear(torch.sort(self.conv(x).mean((2, 3)), dim=1).values)

class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)
    def forward(self, x):
        y = self.linear(x.flatten(1))
        return y if y.sum() > 0 else -y
"""


@pytest.fixture(autouse=True)
def _here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("net.dqt", "x.npy", "x.npz", "images", "recipe.toml"):
        Path(name).symlink_to(made / name)
    Path("runs").mkdir()


def refused(done: Answer, *parts: str, code: int = 1) -> None:
    """The command failed, said so in a line or two, with every one of ``parts``, and printed nothing else."""
    assert done.code == code, done
    assert done.out == ""
    assert done.err.startswith("dqt")
    assert 1 <= len(done.err.splitlines()) <= 2
    assert "Traceback" not in done.err
    for part in parts:
        assert part in done.err


# the command itself


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["frobnicate"], ["No such command 'frobnicate'", "See dqt --help"]),
        (["eval"], ["dqt eval: Missing argument", "See dqt eval --help"]),
        (["eval", "net.dqt", "digits", "--limit", "0"], ["--limit"]),
        (["eval", "net.dqt", "digits", "--frob"], ["No such option", "--frob"]),
        (["search", "runs", "--bitops", "much"], ["--bitops"]),
    ],
)
def test_a_wrong_command_names_the_help(call: Call, words: list[str], parts: list[str]) -> None:
    refused(call(*words), *parts, code=2)


@pytest.mark.parametrize("verb", ["inspect", "lower", "report", "train", "search", "run", "eval"])
def test_a_missing_file_is_named(call: Call, verb: str) -> None:
    rest = {"run": ["x.npy"], "eval": ["digits"], "search": ["--bitops", "0.5"]}.get(verb, [])
    refused(call(verb, "nothing.here", *rest), "nothing.here", "o such file")


# programs


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def of_a_later_version(data: bytes) -> bytes:
    return data.replace(b'"version":"2"', b'"version":"9"')


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (cut, "not a whole safetensors file"),
        (flipped, "does not match its sha256"),
        (of_a_later_version, "file version '9'"),
        (lambda _: b"", "not a whole safetensors file"),
        (lambda data: b"\xff" * 8 + data[8:], "not a whole safetensors file"),
    ],
)
@pytest.mark.parametrize("verb", ["inspect", "run"])
def test_a_damaged_program_is_refused(call: Call, damage: Callable[[bytes], bytes], part: str, verb: str) -> None:
    Path("bad.dqt").write_bytes(damage(Path("net.dqt").read_bytes()))
    refused(call(verb, "bad.dqt", *(["x.npy"] if verb == "run" else [])), "bad.dqt", part)


# inputs


def inputs() -> dict[str, Any]:
    x = np.zeros((2, 1, 8, 8), np.float32)
    nan, inf = x.copy(), x.copy()
    nan[1, 0, 3, 3], inf[0, 0, 0, 0] = np.nan, np.inf
    return {
        "nan": (nan, ["sample 1", "NaN"]),
        "inf": (inf, ["sample 0", "NaN or a number beyond float32"]),
        "rank": (x[:, 0], ["[2, 8, 8]", "[N, 1, 8, 8]"]),
        "flat": (x.reshape(2, 64), ["[2, 64]"]),
        "channels": (np.zeros((2, 3, 8, 8), np.float32), ["[2, 3, 8, 8]"]),
        "pixels": (np.zeros((2, 3, 8, 8), np.uint8), ["[2, 3, 8, 8]", "[N, 1, 8, 8]"]),
        "complex": (x.astype(np.complex64), ["complex64"]),
        "text": (np.array(["a", "b"]), ["<U1"]),
        "empty": (x[:0], ["empty batch"]),
    }


@pytest.mark.parametrize("name", inputs())
def test_an_input_that_cannot_be_is_refused(call: Call, name: str) -> None:
    array, parts = inputs()[name]
    np.save("bad.npy", array)
    refused(call("run", "net.dqt", "bad.npy", "--json"), "bad.npy", *parts)


def test_files_that_are_no_samples_are_refused(call: Call) -> None:
    Path("bad.npy").write_bytes(Path("x.npy").read_bytes()[:200])
    refused(call("run", "net.dqt", "bad.npy"), "bad.npy", "not a readable file")
    np.save("object.npy", np.array([{}], dtype=object), allow_pickle=True)
    refused(call("run", "net.dqt", "object.npy"), "object.npy", "not a readable file")
    np.savez("two.npz", a=np.zeros(1), b=np.zeros(1))
    refused(call("run", "net.dqt", "two.npz"), "two.npz", "need one array")
    Path("bad.png").write_bytes(b"no image")
    refused(call("run", "net.dqt", "bad.png"), "bad.png", "not a readable image")
    Image.new("L", (9, 8)).save("wide.png")
    refused(call("run", "net.dqt", "wide.png"), "wide.png", "9x8", "8x8")
    Path("folder").mkdir()
    Path("folder", "below.png").mkdir()
    Path("folder", ".hidden.png").write_bytes(b"")
    refused(call("run", "net.dqt", "folder"), "folder", "no images or arrays")


def test_a_program_without_constants_takes_no_pixels(call: Call) -> None:
    program = dqt.Program.load("net.dqt")
    bare = dqt.Program(program.space, program.values, program.ops, program.inputs)
    bare.save("bare.dqt")
    refused(call("run", "bare.dqt", "images"), "does not say the mean", "lower with info")
    assert call("run", "bare.dqt", "x.npy").code == 0


# plans and widths


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--bits", "3"], ["width 3", "(2, 4, 8)"]),
        (["--bits", "four"], ["'four'", "8,4,2"]),
        (["--bits", "8,4"], ["one width or auto"]),
        (["--bits", "4", "--plan", "plan.json"], ["--bits and --plan"]),
        (["--plan", "none.json"], ["none.json", "No such file"]),
        (["--plan", "unknown.json"], ["'frob'", "does not have"]),
        (["--plan", "missing.json"], ["misses", "conv1"]),
        (["--plan", "text.json"], ["text.json", "must be JSON"]),
        (["--plan", "binary.json"], ["binary.json"]),
        (["--plan", "three.json"], ["width 3 of the cascade", "(2, 4, 8)"]),
        (["--plan", "short.json"], ["short.json", "needs 1 margins"]),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(call: Call, words: list[str], parts: list[str]) -> None:
    layers = dqt.Program.load("net.dqt").layers
    dqt.Plan.of(dict.fromkeys(layers, 4) | {"frob": 4}).save("unknown.json")
    dqt.Plan.of(dict.fromkeys(layers[1:], 4)).save("missing.json")
    Path("text.json").write_text("8 bits")
    dqt.Cascade((2, 3), (5,)).save("three.json")
    Path("short.json").write_text('{"format": "dqt-cascade", "version": 1, "widths": [2, 4], "margins": []}')
    Path("binary.json").write_bytes(b"\xff\xfe\x00")
    refused(call("run", "net.dqt", "x.npy", *words), *parts)


def test_auto_needs_a_controller(call: Call) -> None:
    Path("plain.toml").write_text(RECIPE.replace("controller = { choices = [2, 4, 8] }", ""))
    assert call("train", "plain.toml", "--json").code == 0
    assert call("lower", "runs/plain", "-o", "plain.dqt", "--json").code == 0
    refused(call("run", "plain.dqt", "x.npy", "--bits", "auto"), "needs a controller")
    refused(call("eval", "plain.dqt", "digits", "--auto"), "needs a controller")
    assert [row["kind"] for row in call("eval", "plain.dqt", "digits", "--json").json["rows"]] == ["uniform"] * 3


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["no budget", "bitops=0.25"]),
        (["--bitops", "0.0001"], ["the least that a plan can take"]),
        (["--bitops", "-1"], ["bitops -1.0", "fraction"]),
        (["--bitops", "nan"], ["bitops nan"]),
        (["--cascade", "2,8"], ["no budget", "--bitops 0.12"]),
        (["--cascade", "2,8", "--bitops", "0.0001"], ["2 bits alone cost"]),
        (["--cascade", "2,8", "--bitops", "nan"], ["a budget of nan"]),
        (["--cascade", "8", "--bitops", "0.9"], ["need two or more"]),
        (["--cascade", "3,8", "--bitops", "0.9"], ["width 3 of the cascade"]),
        (["--cascade", "two", "--bitops", "0.9"], ["--cascade 'two'", "2,4,8"]),
    ],
)
def test_a_budget_that_cannot_be_is_refused(call: Call, made: Path, words: list[str], parts: list[str]) -> None:
    refused(call("search", made / "runs/mine", *words), *parts)


# checkpoints, recipes and data


@pytest.mark.parametrize(("damage", "part"), [(cut, "truncated"), (flipped, "damaged"), (lambda _: b"x", "not a dqt")])
@pytest.mark.parametrize("verb", ["lower", "search"])
def test_a_damaged_checkpoint_is_refused(
    call: Call, made: Path, damage: Callable[[bytes], bytes], part: str, verb: str
) -> None:
    Path("bad.ckpt").write_bytes(damage((made / "runs/mine/best.ckpt").read_bytes()))
    refused(call(verb, "bad.ckpt", *(["--bitops", "0.5"] if verb == "search" else [])), "bad.ckpt", part)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("epochs = 1", "epoch = 1", ["bad.toml", "recipe.epoch", "did you mean 'epochs'"]),
        ("epochs = 1", "epochs = [", ["bad.toml", "not valid TOML"]),
        ("widths = [2, 4, 8]", "widths = [2, 4]", ["bad.toml", "master 8"]),
        ('"digits"', '"mnist"', ["unknown set 'mnist'"]),
        ('"digits"', '"cifar10=nowhere"', ["data_batch_1.bin not found", "nowhere"]),
        ("valid = 40", "valid = 99999", ["cannot hold out 99999"]),
        ("dqt.train.models:digits_cnn", "dqt.train.models:frob", ["no function or class 'frob'"]),
        ("bitops = 0.5", "bitops = 0.01", ["recipe.bitops", "reaches"]),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(call: Call, old: str, new: str, parts: list[str]) -> None:
    Path("bad.toml").write_text(RECIPE.replace(old, new))
    refused(call("train", "bad.toml", "--json"), *parts)


@pytest.mark.parametrize(("model", "part"), [("Sorted", "sort"), ("Branching", "forward")])
def test_a_model_that_cannot_be_quantized_is_refused(call: Call, model: str, part: str) -> None:
    Path("models.py").write_text(MODELS)
    text = RECIPE.replace("dqt.train.models:digits_cnn", f"models.py:{model}").replace("args = {", "#")
    Path("bad.toml").write_text(text)
    refused(call("train", "bad.toml", "--json"), part)


def test_data_for_eval_that_cannot_be_is_refused(call: Call) -> None:
    refused(call("eval", "net.dqt", "mnist"), "unknown set 'mnist'")
    refused(call("eval", "net.dqt", "npz=none.npz"), "none.npz", "no such file")
    colour = np.zeros((20, 3, 8, 8), np.uint8)
    np.savez("colour.npz", x=colour, y=np.arange(20) % 2)
    refused(call("eval", "net.dqt", "npz=colour.npz"), "[20, 3, 8, 8]", "[N, 1, 8, 8]")
    np.savez("large.npz", x=np.zeros((20, 1, 9, 9), np.uint8), y=np.arange(20) % 2)
    refused(call("eval", "net.dqt", "npz=large.npz"), "[20, 1, 9, 9]", "[N, 1, 8, 8]")


def test_results_that_cannot_be_are_refused(call: Call) -> None:
    refused(call("report", "runs"), "results.json")
    Path("runs/results.json").write_text(json.dumps({"version": 1}))
    refused(call("report", "runs"), "results.json", "name")


def test_a_place_that_cannot_be_written_is_named(call: Call, made: Path) -> None:
    Path("file").write_text("")
    refused(call("lower", made / "runs/mine", "-o", "none/net.dqt"), "none", "No such file")
    refused(call("run", "net.dqt", "x.npy", "-o", "none/y.npy"), "none/y.npy")
    refused(call("train", "recipe.toml", "--run", "file/run", "--json"), "file/run", "Not a directory")
    refused(call("eval", "net.dqt", "digits", "--out", "file/out", "--limit", "4"), "file/out")


# what is not the user's fault


def test_a_defect_says_so_and_debug_shows_it(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dqt.program.file.digest", None)
    refused(call("inspect", "net.dqt"), "a defect of dqt", "TypeError", "--debug", code=3)
    with pytest.raises(TypeError):
        main(["inspect", "net.dqt", "--debug"])


LIMITS: list[tuple[BaseException, list[str]]] = [
    (MemoryError(), ["out of memory"]),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), ["out of memory"]),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"), ["smaller batches"]),
    (RuntimeError("can't start new thread"), ["start new thread", "ulimit -u"]),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), ["killed by signal", "memory"]),
    (RuntimeError("unable to open shared memory object </torch_1>"), ["/dev/shm"]),
    (OSError(errno.ENOSPC, "No space left on device", "runs/mine"), ["runs/mine: No space left", "disk"]),
    (OSError(errno.EMFILE, "Too many open files"), ["Too many open files", "ulimit -n"]),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), ["Cannot allocate memory", "smaller"]),
    (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), ["temporarily unavailable", "ulimit -u"]),
]


@pytest.mark.parametrize(("error", "parts"), LIMITS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_limit_of_the_machine_is_no_defect(error: Exception, parts: list[str], wrapped: bool) -> None:
    """Also where a library raised an error of its own from it."""
    if wrapped:
        outer = ValueError("it failed")
        outer.__cause__ = error
        error = outer
    message, code = describe(error)
    assert code == 1
    assert "defect" not in message
    assert all(part in message for part in parts)


def test_an_interrupt_in_another_error_is_an_interrupt() -> None:
    error = RuntimeError("the loop ended")
    error.__context__ = KeyboardInterrupt()
    assert describe(error) == ("dqt: interrupted", 130)


def test_a_factory_that_raises_is_named_with_its_line(call: Call) -> None:
    Path("mine.py").write_text("def make(depth):\n    return {}[depth]\n\nbroken = {}\n")
    text = Path("recipe.toml").read_text(encoding="utf-8").splitlines()
    own = ["[model]", 'factory = "mine.py:make"', "args = { depth = 3 }"]
    Path("own.toml").write_text("\n".join([*own, *text[text.index("[data]") :]]), encoding="utf-8")
    done = call("train", "own.toml", "--run", "own", "--json")
    refused(done, "model.factory 'mine.py:make' raised KeyError: 3", "mine.py:2")
    Path("mine.py").write_text("def make(depth):\n    pass\n\nraise ValueError('no weights here')\n")
    refused(call("train", "own.toml", "--run", "own", "--json"), "raised ValueError: no weights here", "mine.py:4")


def test_a_users_line_is_named(tmp_path: Path) -> None:
    """Raised in a user's own file that dqt called: the innermost such line, also from a worker process."""
    (tmp_path / "theirs.py").write_text("import json\n\ndef load(path):\n    return json.loads('{')\n")
    spec = importlib.util.spec_from_file_location("theirs", tmp_path / "theirs.py")
    assert spec is not None
    assert spec.loader is not None
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    with pytest.raises(json.JSONDecodeError) as caught:
        stoppable(theirs.load)("x")
    message, code = describe(caught.value)
    assert code == 1
    assert f"{tmp_path}/theirs.py:4: JSONDecodeError: Expecting property name" in message
    told = (
        f"Caught KeyError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        f'  File "{np.__file__}", line 9, in x\n  File "{tmp_path}/theirs.py", line 7, in load\nKeyError: \'label\'\n'
    )

    def worker() -> None:
        raise RuntimeError(told)

    with pytest.raises(RuntimeError) as again:
        stoppable(worker)()
    assert f"{tmp_path}/theirs.py:7" in describe(again.value)[0]
    assert "'label'" in describe(again.value)[0]


def test_a_library_that_is_missing_is_named() -> None:
    message, code = describe(ImportError("the chart needs matplotlib, which is not installed"))
    assert (message, code) == ("dqt: the chart needs matplotlib, which is not installed", 1)
    assert describe(MemoryError())[1] == 1


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["lower", "{made}/runs/mine", "-o", "{out}"], "kept.dqt"),
        (["search", "{made}/runs/mine", "--bitops", "0.9", "--samples", "8", "-o", "{out}"], "kept.json"),
        (
            ["search", "{made}/runs/mine", "--cascade", "2,8", "--bitops", "0.9", "--samples", "8", "-o", "{out}"],
            "c.json",
        ),
        (["run", "net.dqt", "x.npy", "-o", "{out}"], "kept.npy"),
        (["report", "{made}/runs/mine", "-o", "{out}"], "kept.html"),
    ],
)
def test_a_full_disk_names_the_file_and_leaves_what_was_there(
    call: Call, made: Path, words: list[str], file: str
) -> None:
    Path(file).write_bytes(b"before")
    done = full(call, *(word.format(made=made, out=file) for word in words))
    refused(done, file, "File too large", "the file that was there is kept", "free some space")
    assert done.err.count("elsewhere") == 1  # the advice
    assert Path(file).read_bytes() == b"before"


def full(call: Call, *words: object) -> Answer:
    """The command where a file may have 10 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        return call(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_eval_found_is_shown_where_it_cannot_be_saved(call: Call) -> None:
    Path("results.json").write_bytes(b"before")
    done = full(call, "eval", "net.dqt", "npz=x.npz", "--bits", "8", "-o", ".", "--json")
    assert done.code == 1
    assert done.json["rows"][0]["label"] == "8 bits"
    assert "results.json: cannot be written (File too large); the file that was there is kept" in done.err
    assert Path("results.json").read_bytes() == b"before"


def test_an_output_need_not_be_readable(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("y.npy").write_bytes(b"before")
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: (path, mode) != ("y.npy", os.R_OK) and access(path, mode, **more)
    )
    assert call("run", "net.dqt", "x.npy", "-o", "y.npy").code == 0
    assert np.load("y.npy").shape == (4, 10)


def test_a_file_where_eval_needs_a_folder_is_said_before_the_work(call: Call) -> None:
    for out in ("x.npy", "x.npy/below"):
        refused(call("eval", "net.dqt", "npz=x.npz", "-o", out), f"{out}: is a file, or lies below one: give a folder")


@pytest.mark.parametrize("words", [["run", "net.dqt", "x.npy"], ["eval", "net.dqt", "npz=x.npz"], ["bench", "net.dqt"]])
def test_a_plan_of_another_network_names_its_file(call: Call, words: list[str]) -> None:
    dqt.Plan.of({"other": 4}).save("other.json")
    dqt.Cascade((2, 3), (1,)).save("widths.json")
    refused(call(*words, "--plan", "other.json"), "other.json: not of this network: the plan names 'other'")
    refused(call(*words, "--plan", "widths.json"), "widths.json: not of this network: width 3 of the cascade")


@pytest.mark.parametrize(
    ("out", "parts"),
    [
        ("none/y.npy", ["none/y.npy", "make its folder first"]),
        (".", ["Is a directory", "give the name of a file"]),
        ("pipe", ["pipe", "start its reader first"]),
    ],
)
def test_a_place_that_cannot_be_written_is_said(call: Call, out: str, parts: list[str]) -> None:
    os.mkfifo("pipe")
    refused(call("run", "net.dqt", "x.npy", "-o", out), *parts)
    assert Path("pipe").is_fifo()
    assert call("run", "net.dqt", "x.npy", "-o", os.devnull).code == 0
    assert not Path(os.devnull).is_file()
