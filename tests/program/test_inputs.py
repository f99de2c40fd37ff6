"""What programs take: the same objects in the interpreter and the engine, and the warning for what does not fit."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import dqt
from dqt.arith.errors import InputError, InputRangeWarning
from dqt.program.evaluate import evaluate, evaluate_widths, run_batches
from dqt.program.given import Given
from dqt.program.ops.quantize import Quantize, plain_gain
from dqt.program.pixels import pixels_to_inputs
from dqt.program.program import Program, ProgramError
from dqt.runtime.bench import bench
from dqt.runtime.layers import by_layer
from dqt.testing import Builder

SHAPE = (3, 4, 5)


def program_of(*, signed: bool = True, info: Any = None) -> Program:
    """Some layers, and one vector of four scores; the scale of the input makes its range 1 wide."""
    b = Builder(3, SHAPE, signed=signed)
    built = b.build(b.linear(b.flatten(b.conv("v0", 4)), 4))
    first, (gain, bias) = replace(built.values[0], scale=1 / 255), plain_gain(1 / 255)
    ops = (Quantize("input", "v0", gain, bias, 0), *built.ops[1:])
    return replace(built, values=(first, *built.values[1:]), ops=ops, info=info or {})


PIXELS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}


def interpreted(program: Program) -> Callable[[Any], Any]:
    return lambda x: dqt.interpret(program, x, 4)


def native(program: Program) -> Callable[[Any], Any]:
    run = dqt.Runtime(program, threads=1)
    return lambda x: run(x, 4)


ENGINES: list[Callable[[Program], Callable[[Any], Any]]] = [interpreted, native]
engines = pytest.mark.parametrize("engine", ENGINES, ids=["interpret", "Runtime"])


def samples(count: int = 2) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(1).random((count, *SHAPE)) - 0.5).astype(np.float32)


class Exported:
    """DLPack and nothing else."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


def unaligned(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    held = np.frombuffer(b"." + x.tobytes(), np.uint8)[1:]
    return held.view(np.float32).reshape(x.shape)


FORMS: dict[str, Callable[[npt.NDArray[np.float32]], Any]] = {
    "float64": lambda x: x.astype(np.float64),
    "the other byte order": lambda x: x.astype(">f4"),
    "longdouble": lambda x: x.astype(np.longdouble),
    "Fortran order": np.asfortranarray,
    "every other column": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "reversed": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "read-only": lambda x: np.frombuffer(x.tobytes(), np.float32).reshape(x.shape),
    "unaligned": unaligned,
    "lists": lambda x: x.tolist(),
    "DLPack": Exported,
    "a list of arrays": list,
}


@engines
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_numbers_is_taken(form: str, engine: Any) -> None:
    x = samples()
    call = engine(program_of())
    np.testing.assert_array_equal(call(FORMS[form](x)), call(x))


@engines
def test_tensors_are_taken(engine: Any) -> None:
    torch = pytest.importorskip("torch")
    x = samples()
    call, tensor = engine(program_of()), torch.from_numpy(x.copy())
    turned = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 2, 3, 1))).permute(0, 3, 1, 2)
    with torch.inference_mode():
        inferred = tensor.clone()
    for each in (
        tensor,
        tensor.clone().requires_grad_(),
        torch.nn.Parameter(tensor),
        turned,
        inferred,
        tensor.double(),
        torch.complex(x_ := tensor.clone(), -x_).conj().imag,  # a view whose sign torch has yet to turn
        list(tensor.clone().requires_grad_()),
    ):
        np.testing.assert_array_equal(call(each), call(x))
    for dtype in (torch.float16, torch.bfloat16):
        np.testing.assert_array_equal(call(tensor.to(dtype)), call(tensor.to(dtype).float().numpy()))
    for bad in (tensor.to_sparse(), tensor.to(torch.complex64), tensor > 0):
        with pytest.raises(InputError, match="pass float32"):
            call(bad)


@engines
@pytest.mark.parametrize(
    "bad",
    [None, "x.npy", {"x": 1}, [[1.0], [1.0, 2.0]], 1.0, np.zeros((1, *SHAPE), bool), np.zeros((1, *SHAPE), complex)],
)
def test_what_is_no_array_of_numbers_is_one_clear_error(bad: Any, engine: Any) -> None:
    with pytest.raises(InputError, match=r"pass float32|this program takes"):
        engine(program_of())(bad)


@engines
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_what_is_not_finite_is_refused(value: float, engine: Any) -> None:
    x = samples(4).astype(np.float64)
    x[2, 1, 1, 1] = value
    with pytest.raises(InputError, match="sample 2 of the input holds a NaN or a number beyond float32"):
        engine(program_of())(x)


@engines
def test_masked_values_are_refused_and_other_kinds_of_arrays_are_their_numbers(engine: Any) -> None:
    run, x = engine(program_of()), samples()
    want = run(x)
    assert np.array_equal(run(np.ma.masked_array(x)), want)
    hidden = x.copy()
    hidden[0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match=r"the input has masked values: fill them \(x\.filled\(\.\.\.\)\), and pass"):
        run(np.ma.masked_invalid(hidden))


@engines
def test_uint8_is_pixels(engine: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, *SHAPE)).astype(np.uint8)
    program = program_of(info=PIXELS)
    call = engine(program)
    want = call(pixels_to_inputs(program, pixels))
    np.testing.assert_array_equal(call(pixels), want)
    np.testing.assert_array_equal(call(pixels.transpose(0, 2, 3, 1)), want)
    assert not np.array_equal(call(pixels.astype(np.float32)), want)
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(call(torch.from_numpy(pixels)), want)
    np.testing.assert_array_equal(call(Exported(pixels)), want)
    with pytest.raises(InputError, match="uint8 values are pixels, and this program does not say the mean"):
        engine(program_of())(pixels)


def test_verbs_on_many_samples_take_pixels_too() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, *SHAPE)).astype(np.uint8)
    program = program_of(info=PIXELS)
    x = pixels_to_inputs(program, pixels)
    np.testing.assert_array_equal(evaluate(program, pixels).predictions, evaluate(program, x).predictions)
    np.testing.assert_array_equal(run_batches(program, pixels)[0], dqt.interpret(program, x))


def warned(call: Callable[[Any], Any], x: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call(x)
    assert all(each.category is InputRangeWarning and each.filename == __file__ for each in found)
    return [str(each.message) for each in found]


def spiked(x: npt.NDArray[np.float32], value: float, count: int) -> npt.NDArray[np.float32]:
    x = x.copy()
    x[0].reshape(-1)[:count] = value
    return x


FITS: dict[str, npt.NDArray[Any]] = {  # the range is -0.5 to 0.5
    "within": samples(),
    "half as far again": samples() * 1.5,
    "twice as far": samples() * 2,
    "a flat sample just outside": np.full((1, *SHAPE), -0.6),
    "one wild value of 60 that is not far": spiked(samples(), 1.9, 1),
    "a normal distribution beyond the edges": np.random.default_rng(0).standard_normal((8, *SHAPE)) * 0.3,
}
FAR: dict[str, npt.NDArray[Any]] = {
    "four times": samples() * 4,
    "ten times": samples() * 10,
    "shifted": samples() + 2,
    "raw pixels": (samples() + 0.5) * 255,
    "one value of 60, far outside": spiked(samples(), 100, 1),
    "one channel in another unit": samples() * np.array([1, 1, 1000])[:, None, None],
    "one sample of many": np.concatenate([samples(200), samples(1) * 50]),
}


@engines
@pytest.mark.parametrize("name", FITS)
def test_inputs_that_fit_are_no_news(name: str, engine: Any) -> None:
    assert warned(engine(program_of()), FITS[name]) == []


@engines
@pytest.mark.parametrize("name", FAR)
def test_inputs_far_outside_are_one_warning(name: str, engine: Any) -> None:
    call = engine(program_of())
    (text,) = warned(call, FAR[name])
    assert "far outside of what this program was calibrated with" in text
    assert "the program takes -0.502 to 0.498" in text
    assert warned(call, FAR[name]) == []
    assert len(warned(engine(program_of()), FAR[name])) == 1  # another program warns for itself


@engines
def test_the_range_of_an_unsigned_input(engine: Any) -> None:
    call = engine(program_of(signed=False))
    assert warned(call, samples() + 0.5) == []
    (text,) = warned(call, samples() * 5)
    assert "the program takes 0 to 1" in text


def test_one_bright_pixel_of_a_large_image_is_no_news() -> None:
    b = Builder(0, (1, 40, 40), signed=True)
    program = b.build(b.conv("v0", 2))
    x = np.zeros((1, 1, 40, 40), np.float32)
    x[0, 0, 3, 5] = 1e6
    assert warned(lambda x: dqt.interpret(program, x), x) == []


def test_the_warning_counts_samples() -> None:
    x = np.concatenate([samples(3), samples(2) * 100])
    (text,) = warned(ENGINES[0](program_of()), x)
    assert text.startswith("sample 3 of the input lies far outside")
    assert "2 of 5 samples" in text


def test_spikes_are_not_counted_each_time_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(Given, "_look", lambda _self, x, _range: looks.append(len(x)))
    run = dqt.Runtime(program_of(), threads=1)
    for _ in range(160):
        run(samples() * 10)
    assert len(looks) == 16 + 9


CALLS: dict[str, Callable[[Any], Any]] = {
    "interpret": lambda program: dqt.interpret(program, samples(), 4),
    "Runtime": lambda program: dqt.Runtime(program, threads=1)(samples(), 4),
    "evaluate": lambda program: evaluate(program, samples()).predictions,
    "evaluate_widths": lambda program: evaluate_widths(program, samples(), np.full((2, 2), 4)).predictions,
    "run_batches": lambda program: run_batches(program, samples())[0],
    "cost": lambda program: np.array(dqt.cost(program, 4).bitops),
    "calibrate_cascade": lambda program: np.array(dqt.calibrate_cascade(program, [samples(8)], (2, 8), 2.0).margins),
    "bench": lambda program: np.array(bench(program, plans={"4": 4}, seconds=0.01).rows[0].batch),
    "by_layer": lambda program: np.array(by_layer(program, plans={"4": 4}, seconds=0.01).profiles[0].batch),
}


class Place(os.PathLike[str]):
    """A path of another library."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


@pytest.mark.parametrize("name", CALLS)
def test_a_path_is_as_good_as_its_program(name: str, tmp_path: Path) -> None:
    program, path = program_of(), tmp_path / "net.dqt"
    program.save(path)
    want = CALLS[name](program)
    for given in (path, str(path), Place(path)):
        np.testing.assert_array_equal(CALLS[name](given), want)
    with pytest.raises(FileNotFoundError):
        CALLS[name](tmp_path / "none.dqt")
    path.write_bytes(b"nothing")
    with pytest.raises(ProgramError, match="not a whole safetensors file"):
        CALLS[name](path)


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_program_says_the_way_to_one(name: str) -> None:
    torch = pytest.importorskip("torch")
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 4))
    net = dqt.prepare(model, torch.rand(2, 4))
    run = dqt.Runtime(program_of(), threads=1)
    cases = [
        (model, r"a float model, Sequential: net = dqt.prepare"),
        (b"dqt", "bytes: write them to a file"),
        (None, "a value of type NoneType; need a dqt.Program or the path of a .dqt file"),
        (7, "a value of type int"),
        (run, "a Runtime: call it, or take its program"),
    ]
    if name != "cost":
        cases.append((net, r"a prepared network: dqt.lower\(net\) makes the program"))
    for given, message in cases:
        with pytest.raises(ProgramError, match=message):
            CALLS[name](given)
