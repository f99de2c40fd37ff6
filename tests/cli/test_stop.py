"""Ctrl-C at any moment: exit code 130 and one line, whatever the process is doing; and outputs that are closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import dqt
from dqt.cli import main
from dqt.cli.stop import GRACE, interruptible

FULL = "dqt: standard output: No space left on device: make room on the disk, or write elsewhere\n"
BUSY = {
    "a call that waits": "time.sleep(60)",
    "an import that turns the interrupt into another error": """
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        raise ImportError("half of a library")
""",
    "code that drops the interrupt": """
    try:
        time.sleep(60)
    except BaseException:
        time.sleep(60)
""",
    "threads that compute on": """
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(time.sleep, [60, 60]))
""",
    "a thread that nobody waits for": """
    threading.Thread(target=time.sleep, args=(60,)).start()
    time.sleep(60)
""",
    "a finalizer, whose errors Python only prints": """
    class Last:
        def __del__(self):
            time.sleep(60)
    Last()
    time.sleep(60)
""",
}


@pytest.mark.parametrize("what", BUSY)
def test_one_interrupt_ends_a_verb(what: str) -> None:
    code = f"""
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import dqt
def load(path):
    print("busy", flush=True)
    {BUSY[what]}
dqt.Program.load = load
from dqt.cli import main
sys.argv = ["dqt", "inspect", "net.dqt"]
sys.exit(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == b"busy\n"
        one.send_signal(signal.SIGINT)
        out, err = one.communicate(timeout=30 + GRACE)
    assert (one.returncode, out, err) == (130, b"", b"dqt: interrupted\n")


def test_an_interrupt_while_the_command_line_is_imported(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import time\nprint('busy', flush=True)\ntime.sleep(60)\n")
    words = [sys.executable, "-c", "import sys; from dqt.cli import main; sys.exit(main(['--version']))"]
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}
    ) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == b"busy\n"
        one.send_signal(signal.SIGINT)
        out, err = one.communicate(timeout=30)
    assert (one.returncode, out, err) == (130, b"", b"dqt: interrupted\n")


def test_the_handler_is_there_for_the_verb_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert main(["--version"]) == 0
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert not any(thread.name == "dqt-interrupt" for thread in threading.enumerate())


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible() as interrupt:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            signal.raise_signal(signal.SIGINT)
        assert not interrupt.hit
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("words", ["", "--json"])
@pytest.mark.parametrize(
    ("where", "codes", "said"),
    [("| head -n 1 >{out}", {0, 1}, ""), (">&-", {0}, ""), (">/dev/full", {1}, FULL)],
)
def test_an_output_that_takes_no_more_is_no_defect(
    tmp_path: Path, words: str, where: str, codes: set[int], said: str
) -> None:
    if "/dev/full" in where and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    line = f"{sys.executable} -m dqt inspect {dqt.example()} {words} {where.format(out=tmp_path / 'out')}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode in codes
    assert (done.stdout, done.stderr) == ("", said)
