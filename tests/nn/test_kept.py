"""Values that wait as codes read as they would have."""

from __future__ import annotations

import pytest
import torch

from dqt.nn.kept import Signals, closed, kept
from dqt.nn.ranges import Quantizer, Signal


@pytest.mark.parametrize(("kind", "zero"), [("relu", 0), ("signed", 128), ("signed", 64), ("signed", -300)])
def test_codes_read_as_the_value_at_every_width_and_exponent(kind: str, zero: int) -> None:
    quantizer = Quantizer("x", kind, 8, 100, 0.9)  # type: ignore[arg-type]
    quantizer.set_zero(zero)
    quantizer.set_range(3.0, 3.0)
    before = Signal(4 * torch.randn(50, 100, generator=torch.Generator().manual_seed(0)).double(), quantizer)
    after = kept(before)
    assert after.data.dtype == torch.uint8
    for b in (8, 5, 2) if zero >= 0 else (8,):
        for e in range(min(2, 8 - b) + 1):
            assert torch.equal(after.signal.codes(b, e).double(), before.codes(b, e).double())
        torch.testing.assert_close(after.signal.real(b).double(), before.real(b).double())
    torch.testing.assert_close(after.signal.master.double(), before.master.double())
    assert torch.equal(kept(after.signal).data, after.data)
    assert torch.equal(after.signal.like(after.signal.raw).codes(8), after.signal.codes(8))


def test_what_has_no_codes_stays() -> None:
    quantizer = Quantizer("x", "relu", 8, 3, 0.9)
    x = torch.tensor([[-1.0, 0.5, 2.0]])
    for signal in (Signal(x, quantizer, quantized=False), Signal(x, None), Signal(x.long(), None)):
        assert torch.equal(kept(signal).signal.raw, signal.raw)
    assert kept(Signal(x.double(), None)).data.dtype == torch.float32


def test_selected_values_stay_codes() -> None:
    quantizer = Quantizer("x", "signed", 8, 3, 0.9)
    value = kept(Signal(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), quantizer))
    opened = closed(value.signal)
    assert torch.equal(opened.raw, value.data)
    selected = kept(opened.like(opened.raw[:, 1:4]))
    assert torch.equal(selected.data, value.data[:, 1:4])
    assert torch.equal(selected.signal.real(8), value.signal.real(8)[:, 1:4])
    plain = Signal(torch.ones(2), None)
    assert closed(plain) is plain


def test_batches_are_signals_one_at_a_time() -> None:
    batches = [kept(Signal(torch.full((2, 1), float(i)), None)) for i in range(3)]
    signals = Signals(batches)
    assert [float(each.raw[0, 0]) for each in signals] == [0.0, 1.0, 2.0]
    assert [float(each.raw[0, 0]) for each in signals[1:]] == [1.0, 2.0]
