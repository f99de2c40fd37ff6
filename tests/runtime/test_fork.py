"""Processes that fork after, or while, a program runs: the child answers, and the parent goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dqt.testing import inputs, random_program

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

COMMON = """
import gc, multiprocessing, os, signal, sys, threading, time
import numpy as np
import dqt, dqt._native

dqt._native.assume_cores(3)  # threads, also on a machine of one core
path, threads = sys.argv[1], int(sys.argv[2])
program, x = dqt.Program.load(path), np.load(path + ".npy")
want = dqt.interpret(program, x, 4)


def right(run):
    return all(np.array_equal(run(x, 4), want) for _ in range(3))


def answers(body):
    "Whether a forked child in which `body` runs ends with 0, within some seconds."
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if body() else 3)
        finally:
            os._exit(4)
    return ends(child)


def ends(child):
    for _ in range(600):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def while_running(call):
    "Forks children while another thread calls; True if all answer."
    going = True

    def loop():
        while going:
            call()

    others = [threading.Thread(target=loop) for _ in range(2)]
    for each in others:
        each.start()
    time.sleep(0.05)
    try:
        return all(answers(lambda: right(run) and right(lambda *a: dqt.interpret(program, *a))) for _ in range(8))
    finally:
        going = False
        for each in others:
            each.join()


run = dqt.Runtime(program, threads=threads)
assert right(run)
"""

CASES = {
    "the parent's runtime": "assert answers(lambda: right(run))",
    "its own runtime": "assert answers(lambda: right(dqt.Runtime(program, threads=threads)))",
    "both, and the parent's is freed": """
def body():
    global run
    mine = dqt.Runtime(program, threads=threads)
    good = right(mine) and right(run)
    del run
    gc.collect()
    return good and right(mine)
assert answers(body)
""",
    "freed without a call": """
def body():
    global run
    del run
    gc.collect()
    return True
assert answers(body)
""",
    "an interpreter's exit": """
child = os.fork()
if child == 0:
    assert right(run)
    sys.exit(0)
assert ends(child)
""",
    "an interpreter's exit without a call": """
child = os.fork()
if child == 0:
    sys.exit(0)
assert ends(child)
""",
    "a grandchild": "assert answers(lambda: right(run) and answers(lambda: right(run)) and right(run))",
    "a grandchild of a child that did not call": "assert answers(lambda: answers(lambda: right(run)))",
    "many children": "assert all(answers(lambda: right(run)) for _ in range(10))",
    "a pool": """
with multiprocessing.get_context("fork").Pool(2) as pool:
    for got in pool.map(run, [x] * 4):
        assert np.array_equal(got, dqt.interpret(program, x))
""",
    "a pool that makes runtimes": """
def work(some):
    return dqt.Runtime(program, threads=threads)(some, 4)
with multiprocessing.get_context("fork").Pool(2) as pool:
    for got in pool.map(work, [x] * 4):
        assert np.array_equal(got, want)
""",
    "while others run": "assert while_running(lambda: run(x, 4))",
    "while others interpret": "assert while_running(lambda: dqt.interpret(program, x, 4))",
    "while others make runtimes": "assert while_running(lambda: dqt.Runtime(program, threads=threads)(x, 4))",
    "an exit while another interprets": """
threading.Thread(target=lambda: [dqt.interpret(program, x, 4) for _ in range(100)]).start()
time.sleep(0.05)
child = os.fork()
if child == 0:
    right(lambda *a: dqt.interpret(program, *a))
    sys.exit(0)
assert ends(child)
""",
    "a fork of a thread": """
found = []
other = threading.Thread(target=lambda: found.append(answers(lambda: right(run))))
other.start()
other.join()
assert found == [True]
""",
    "a limit on BLAS that another thread had set": """
from threadpoolctl import threadpool_info, threadpool_limits
from dqt.program import parallel

def blas():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
other = threading.Thread(target=lambda: threadpool_limits(3, user_api="blas"))  # a limit that belongs to no thread
other.start()
other.join()
before, inside, done = blas(), threading.Event(), threading.Event()
def hold():
    with parallel._single_threaded_blas():
        inside.set()
        done.wait(30)
other = threading.Thread(target=hold)
other.start()
inside.wait()
try:
    assert blas() == [1] * len(before)
    assert answers(lambda: right(lambda *a: dqt.interpret(program, *a)) and blas() == before)
finally:
    done.set()
    other.join()
assert blas() == before
""",
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_a_child(case: str, threads: int, tmp_path: Path) -> None:
    import numpy as np

    program, path = random_program(5), tmp_path / "net.dqt"
    assert 4 in program.space.widths
    program.save(path)
    np.save(f"{path}.npy", inputs(program, 4))
    script = f"{COMMON}\n{CASES[case]}\nassert right(run)\n"
    command = [sys.executable, "-W", "ignore", "-c", script, str(path), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
