"""A runtime in other processes, other threads, and as a copy: equal answers, whatever it was made of."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dqt._native as native
from dqt.program.interpret import execute
from dqt.program.program import ProgramError, ProgramLike
from dqt.runtime import Runtime, RuntimeUnavailableError
from dqt.runtime.runtime import kernel_sets
from dqt.testing import inputs, random_program


def made(tmp_path: Path, form: str, **arguments: Any) -> Runtime:
    path = tmp_path / "net.dqt"
    program = random_program(5)
    program.save(path)
    forms: dict[str, ProgramLike] = {"program": program, "path": path, "text": str(path)}
    return Runtime(forms[form], **arguments)


@pytest.mark.parametrize("form", ["program", "path", "text"])
@pytest.mark.parametrize("arguments", [{}, {"threads": 2, "isa": "portable", "kernel": "block"}])
def test_pickles_and_copies_give_equal_answers(
    form: str, arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = made(Path(), form, **arguments)
    monkeypatch.chdir("/")
    x = inputs(run.program, 3)
    want = run.codes(x, 4)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        other = pickle.loads(pickle.dumps(run, protocol))
        np.testing.assert_array_equal(other.codes(x, 4), want)
        assert (other.isa, other.threads) == (run.isa, run.threads)
        assert other.kernels(x, 4) == run.kernels(x, 4)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(other, protocol)).codes(x, 4), want)
    for other in (copy.copy(run), copy.deepcopy(run), copy.deepcopy([run, run])[0]):
        np.testing.assert_array_equal(other.codes(x[:1], 1), run.codes(x, 1)[:1])
    del run
    np.testing.assert_array_equal(other.codes(x, 4), want)


def test_a_deep_copy_of_what_holds_a_runtime_keeps_one_runtime(tmp_path: Path) -> None:
    run = made(tmp_path, "program")
    first, second = copy.deepcopy([run, run])
    assert first is second


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_it_goes_to_other_processes(method: str, tmp_path: Path) -> None:
    run = made(tmp_path, "path", threads=2)
    x = inputs(run.program, 4)
    script = f"""
import multiprocessing, pickle, sys
import numpy as np

if __name__ == "__main__":
    run = pickle.load(open(sys.argv[1], "rb"))
    x = np.load(sys.argv[2])
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        np.save(sys.argv[3], np.stack(pool.map(run, [x] * 3)))
"""
    (tmp_path / "script.py").write_text(script)
    files = [tmp_path / name for name in ("run.pickle", "x.npy", "y.npy")]
    files[0].write_bytes(pickle.dumps(run))
    np.save(files[1], x)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", tmp_path / "script.py", *files],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for got in np.load(files[2]):
        np.testing.assert_array_equal(got, run(x))


def test_a_pickle_needs_the_kernels_that_it_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named, best = (pickle.dumps(made(tmp_path, "program", isa=isa)) for isa in (kernel_sets()[0], None))
    monkeypatch.setattr(native, "kernel_sets", lambda: ["portable"])
    if kernel_sets()[0] != "portable":
        with pytest.raises(RuntimeUnavailableError, match="this processor runs portable"):
            pickle.loads(named)
    assert pickle.loads(best).isa


def test_a_file_that_changed_is_no_longer_its_program(tmp_path: Path) -> None:
    run = made(tmp_path, "path")
    x = inputs(run.program, 2)
    want = run(x)
    random_program(6).save(tmp_path / "net.dqt")
    for use in (lambda: run.program, lambda: pickle.dumps(run)):
        with pytest.raises(ProgramError, match=r"net\.dqt holds another program than this Runtime"):
            use()
    (tmp_path / "net.dqt").unlink()
    with pytest.raises(FileNotFoundError, match=r"net\.dqt"):
        pickle.dumps(run)
    np.testing.assert_array_equal(copy.deepcopy(run)(x), want)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_threads_call_one_runtime(threads: int) -> None:
    program = random_program(5)
    run, x = Runtime(program, threads=threads), inputs(program, 9)
    widths = program.space.widths
    want = {(b, n): execute(program, x[:n], b).codes for b in widths for n in (1, 4, 9)}

    def call(i: int) -> bool:
        b, n = list(want)[i % len(want)]
        return np.array_equal(run.codes(x[:n], b), want[b, n])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(400)))


def test_no_more_threads_than_cores() -> None:
    program = random_program(5)
    run, x = Runtime(program, threads=3), inputs(program, 9)
    want = execute(program, x, 4).codes
    assert Runtime(program).threads == 3  # the cores that conftest.py gives
    for cores in (3, 1, 2, 1, 3):
        native.assume_cores(cores)
        assert run.threads == cores
        np.testing.assert_array_equal(run.codes(x, 4), want)
    assert Runtime(program, threads=10**9).threads == 3


NARROWED = """
import os, sys, threading
import numpy as np
import dqt
from dqt.program.cores import cores as usable

run = dqt.Runtime(sys.argv[1], threads=2)
x = np.zeros((1, *run.program.input_shape), np.float32)
want = run(x, 4)
threads = lambda: len(os.listdir("/proc/self/task"))
cores = sorted(os.sched_getaffinity(0))
assert run.threads == min(2, usable())
os.sched_setaffinity(0, cores[:1])
assert run.threads == 1
before = threads()
fresh = dqt.Runtime(sys.argv[1], threads=64)
assert np.array_equal(fresh(x, 4), want) and np.array_equal(run(x, 4), want)
assert fresh.threads == 1 and threads() == before, "a thread for which there is no core"
assert dqt.Runtime(sys.argv[1]).threads == 1
os.sched_setaffinity(0, cores)
assert run.threads == min(2, usable()) and fresh.threads == min(64, usable())
assert np.array_equal(fresh(x, 4), want) and np.array_equal(run(x, 4), want)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_the_affinity_may_change(tmp_path: Path) -> None:
    path = tmp_path / "net.dqt"
    random_program(5).save(path)
    command = [sys.executable, "-c", NARROWED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
