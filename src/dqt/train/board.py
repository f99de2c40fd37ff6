"""A TensorBoard log whose files are whole: each flush is one new event file, written beside and renamed.

TensorBoard's own writer appends in a thread of its own, where a full disk is a traceback and half a record.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

from dqt.train.checkpoint import CheckpointError, write_atomically

VERSION = "brain.Event:2"
FLUSH_EVERY = 600.0
"""Seconds after which what a long epoch has logged is written before its end."""


class Board:
    """Scalars for TensorBoard, in ``folder``.

    Args:
        step: where the run begins; 0: a new run, an old log is removed. Later steps of an old log are not shown again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder, self.files = folder, 0
        self.began = self.written = time.time()
        self.pending = io.BytesIO()
        if step == 0:
            shutil.rmtree(folder, ignore_errors=True)
        self._new_file()
        if step:
            self._add(step=step, session_log={"status": "START"})

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Log one number."""
        self._add(step=step, summary={"value": [{"tag": tag, "simple_value": value}]})

    @property
    def due(self) -> bool:
        """Whether it is time to write what has been logged."""
        return time.time() - self.written > FLUSH_EVERY

    def flush(self) -> str:
        """Write what is new; returns why it could not be written ("" where it was). It is then kept for the next time.

        A log is not worth the training: the checkpoint that follows a full disk stops it, if need be.
        """
        self.written = time.time()
        if not self.pending.tell() > self.empty:
            return ""
        name = f"events.out.tfevents.{int(self.began)}.{self.files:05d}.{socket.gethostname()}.{os.getpid()}"
        try:
            write_atomically(self.folder / name, self.pending.getvalue())
        except CheckpointError as error:
            return str(error)
        self.files += 1
        self._new_file()
        return ""

    def _new_file(self) -> None:
        self.pending = io.BytesIO()
        self._add(file_version=VERSION)
        self.empty = self.pending.tell()

    def _add(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        event = Event(wall_time=time.time(), **fields)
        RecordWriter(self.pending).write(event.SerializeToString())
