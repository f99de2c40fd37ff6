"""The prepared network: a torch module that trains on nested widths and computes the served integers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dqt.arith.errors import InputError
from dqt.arith.plan import AUTO, Cascade, Pair, Plan, PlanError, PlanLike, Space, resolve
from dqt.nn import integers
from dqt.nn.config import Config
from dqt.nn.graph import INPUT, Step, last_uses, needed_for
from dqt.nn.layers import Norm, WidthLayer
from dqt.nn.operators import OPERATORS, Choice, Run
from dqt.nn.ranges import Edge, Signal

__all__ = ["InputError", "Net", "edge_key"]

CONTROLLER = "controller."


class Net(nn.Module):
    """A network whose layers run at any width; made by :func:`dqt.prepare`.

    Modules and parameters have the names of the user's model; beside them stand ``edges`` (ranges of activations)
    and, where there is one, ``controller``. Widths are an argument of the call, never a state.

    Attributes:
        config: what it was prepared with.   space: the plans it accepts.   steps: its operators in order.
        shapes: of every value, without the batch.   input_shape: of one sample.
    """

    def __init__(self, config: Config, space: Space, steps: Iterable[Step], input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.config, self.space, self.steps, self.input_shape = config, space, tuple(steps), input_shape
        self.shapes = {INPUT: input_shape} | {step.out: step.shape for step in self.steps}
        self.owners = _edge_owners(self.steps)
        self._wide = {step.out for step in self.steps if step.edge == "wide"}
        self.edges = nn.ModuleDict()
        self.ready: Tensor
        self.register_buffer("ready", torch.tensor(False))
        self._dead = last_uses(self.steps)
        readers = [(name, bool(step.layer)) for step in self.steps for name in step.ins]
        self._shared = {name for name, _ in readers if {(name, True), (name, False)} <= set(readers)}
        self._constants: tuple[Any, dict[str, Any]] = (None, {})

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that carry a width, in order, as in the model."""
        return self.space.names

    @property
    def calibrated(self) -> bool:
        """Whether ranges come from data (``dqt.calibrate``) and not from the example input alone."""
        return bool(self.ready)

    def forward(self, x: Tensor, plan: PlanLike = None, *, exact: bool = False) -> Tensor:
        """The network at the widths of ``plan``.

        Args:
            x: float ``[N, *input_shape]``.
            plan: a width, a mapping, a :class:`dqt.Plan`, ``"auto"``, or (exact alone) a :class:`dqt.Cascade`;
                default: the master width.
            exact: ``True``: the program's own integers, dequantized once: equal to ``dqt.interpret`` to the bit, on
                any device, without gradient and with the statistics of evaluation. ``False``: differentiable.

        Returns:
            float32 ``[N, ...]``.

        Raises:
            InputError: shape or dtype do not fit; in an exact run also NaN or infinity.
            PlanError: the plan does not fit.
        """
        fixed = resolve(self.space, plan)
        if isinstance(fixed, Cascade):
            if not exact:
                raise InputError("a cascade decides on integer outputs: call with exact=True")
            return self._cascade(x, fixed)
        if fixed == AUTO:
            return self.route(x, exact=exact)[0]
        assert isinstance(fixed, Plan)
        run = Run(dict(fixed.items_) | self._controller_widths(), batch_statistics=self.training)
        return self.exact_run(x, run, False)[0] if exact else self._run(x, run, False)

    def route(
        self, x: Tensor, temperature: float | None = None, noise: Tensor | None = None, *, exact: bool = False
    ) -> tuple[Tensor, Choice]:
        """Each sample at the widths that the controller chooses for it.

        Args:
            temperature: of the Gumbel-softmax; ``None``: 1.
            noise: Gumbel noise ``[N, chosen layers, choices]``; ``None``: none, so the argmax is taken.

        Returns:
            float32 output ``[N, ...]``, and the choice.
        """
        resolve(self.space, AUTO)
        edges = {layer.name: (self.space.edge_width,) * 2 for layer in self.space.layers if layer.edge}
        widths = edges | self._controller_widths()
        run = Run(widths, batch_statistics=self.training, temperature=temperature, noise=noise)
        y = self.exact_run(x, run, True)[0] if exact else self._run(x, run, True)
        assert run.choice is not None
        return y, run.choice

    @torch.no_grad()
    def controller_features(self, x: Tensor) -> Tensor:
        """What the controller's first layer reads, float32 ``[N, features]``, in evaluation and without gradient."""
        self.check_input(x)
        first = next(step for step in self.steps if step.controller and step.layer)
        run = Run({layer.name: (self.space.edge_width,) * 2 for layer in self.space.layers if layer.edge})
        needed = needed_for(self.steps, first.ins)
        values = {INPUT: self.read(x, run)}
        for step in self.steps:
            if step.out in needed:
                values[step.out] = self.fake_step(step, [values[name] for name in step.ins], run)
        return values[first.ins[0]].master.float()

    def controller_logits(self, features: Tensor, training: bool = False) -> Tensor:
        """The controller on its features, differentiable, float32 ``[N, chosen layers, choices]``.

        Args:
            features: of :meth:`controller_features`.   training: its norm takes, and follows, the batch's statistics.
        """
        layers = [step for step in self.steps if step.controller and step.layer]
        run = Run(self._controller_widths(), batch_statistics=training)
        signal = Signal(features, self.edge_of(layers[0].ins[0]))
        for step in layers:
            signal = self.fake_step(step, [signal], run)
        return signal.raw.float().reshape(-1, len(self.space.chosen), len(self.space.choices))

    def controller_parameters(self) -> Iterator[nn.Parameter]:
        """The controller's own weights, norm and clips."""
        return (p for name, p in self.named_parameters() if name.startswith(self.controller_prefixes))

    @property
    def controller_prefixes(self) -> tuple[str, str]:
        """How the names of the controller's parameters and buffers begin."""
        return CONTROLLER, f"edges.{edge_key(CONTROLLER)}"

    def clips(self) -> dict[str, Tensor]:
        """Every clip and range by name, detached: ``[out]`` for weights (``<layer>.weight``), 0-d for activations."""
        weights = {f"{m.name}.weight": m.clip.detach() for m in self.modules() if isinstance(m, WidthLayer)}
        return weights | {edge.name: edge.clip.detach() for edge in self.edges.values() if isinstance(edge, Edge)}

    # what operators ask for

    def layer(self, name: str) -> WidthLayer:
        """The layer of a step."""
        module = self._find(name)
        assert isinstance(module, WidthLayer)
        return module

    def _find(self, path: str) -> nn.Module | None:
        module: nn.Module | None = self
        for name in path.split("."):
            module = module._modules.get(name) if module is not None else None
        return module

    def norm(self, path: str) -> Norm | None:
        """The batch norm of a step, if it has one."""
        if not path:
            return None
        module = self._find(path)
        assert isinstance(module, Norm)
        return module

    def edge(self, step: Step) -> Edge | None:
        """The edge of a step's result, ``None`` where it stays wide."""
        return None if self.owners[step.out] in self._wide else self.edge_of(step.out)

    def edge_of(self, value: str) -> Edge:
        """The edge whose codes a value has."""
        edge = self.edges[edge_key(self.owners[value])]
        assert isinstance(edge, Edge)
        return edge

    def codes(self, value: str) -> integers.Codes:
        """How the codes of a value stand for reals."""
        return integers.edge_codes(self.edge_of(value))

    # running

    def _controller_widths(self) -> dict[str, Pair]:
        return {layer.name: (self.space.master,) * 2 for layer in self.space.controller}

    def check_input(self, x: Tensor) -> None:
        """Raise :class:`InputError` unless ``x`` is float ``[N, *input_shape]``, N >= 1."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            kind = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"input of type {kind}: need a floating-point tensor, as the float model took it")
        if tuple(x.shape[1:]) != self.input_shape or x.dim() != len(self.input_shape) + 1 or x.shape[0] == 0:
            need = ", ".join(map(str, self.input_shape))
            raise InputError(f"input of shape {tuple(x.shape)}: this network takes (N, {need}), N >= 1")

    def _run(self, x: Tensor, run: Run, routed: bool) -> Tensor:
        self.check_input(x)
        values = {INPUT: self.read(x, run)}
        for step, dead in zip(self.steps, self._dead, strict=True):
            if routed or not step.controller:
                values[step.out] = self.fake_step(step, [values[name] for name in step.ins], run)
            for name in dead:
                values.pop(name, None)
        return values[self.steps[-1].out].master.float()

    def read(self, x: Tensor, run: Run) -> Signal:
        """The input as a signal."""
        x, edge = x.float(), self.edge_of(INPUT)
        if run.batch_statistics and edge.training:
            edge.observe(x)
        return Signal(x, edge, run.quantized)

    def fake_step(self, step: Step, ins: list[Signal], run: Run) -> Signal:
        """One step, differentiable; a tracked range sees its batch first."""
        signal = OPERATORS[step.kind].fake(self, step, ins, run)
        edge, signal.shared = signal.edge, step.out in self._shared
        tracked = edge is not None and edge.training and not edge.learned and step.edge not in ("same", "wide")
        if run.batch_statistics and edge is not None and tracked:
            edge.observe(signal.raw)
        return signal

    def constants(self) -> dict[str, Any]:
        """The integers of every step by the name of its result; computed anew when a parameter or buffer changed."""
        state = [*self.parameters(), *self.buffers()]
        key = tuple((t.data_ptr(), t._version, float(t.detach().double().sum())) for t in state)
        if self._constants[0] != key:
            with torch.no_grad():
                made = {step.out: OPERATORS[step.kind].constants(self, step) for step in self.steps}
            self._constants = (key, made)
        return self._constants[1]

    @torch.no_grad()
    def exact_run(self, x: Tensor, run: Run, routed: bool) -> tuple[Tensor, Tensor]:
        """The integer network on torch integers.

        Returns:
            the dequantized output, float32, and its integers, int32.
        """
        self.check_input(x)
        if not bool(torch.isfinite(x).all()):
            raise InputError("the input contains NaN or infinity")
        run.constants, run.batch_statistics = self.constants(), False
        values = {INPUT: self._quantize(x)}
        for step, dead in zip(self.steps, self._dead, strict=True):
            if routed or not step.controller:
                values[step.out] = OPERATORS[step.kind].exact(self, step, [values[name] for name in step.ins], run)
            for name in dead:
                values.pop(name, None)
        codes = values[self.steps[-1].out]
        return self._dequantize(codes, run), codes

    def _quantize(self, x: Tensor) -> Tensor:
        """``clip(rint(x * float32(1 / step)) + zero)``: the one entry from float (docs/numerics.md, equation 1)."""
        k = self.codes(INPUT)
        scaled = (x.float() * torch.tensor(integers.reciprocal(k.step), device=x.device)).round()
        return scaled.clamp(k.lo - k.zero, k.hi - k.zero).int() + k.zero

    def _dequantize(self, codes: Tensor, run: Run) -> Tensor:
        last = self.steps[-1].out
        owner = self.owners[last]
        k = run.constants[owner].out if owner in self._wide else self.codes(last)
        return (codes - k.zero).float() * torch.tensor(k.step, dtype=torch.float32, device=codes.device)

    @torch.no_grad()
    def _cascade(self, x: Tensor, cascade: Cascade) -> Tensor:
        """Low width first, unsure samples again: the margin of the two largest integers decides."""
        shape = self.steps[-1].shape
        if cascade.margins and (len(shape) != 1 or shape[0] < 2):
            raise PlanError(f"a cascade compares the two best outputs: it needs [N, classes], not {['N', *shape]}")
        result, rows = None, torch.arange(len(x), device=x.device)
        for i, b in enumerate(cascade.widths):
            run = Run(dict(resolve(self.space, b).items_) | self._controller_widths())  # type: ignore[union-attr]
            y, codes = self.exact_run(x[rows], run, False)
            result = y if result is None else result.index_copy(0, rows, y)
            if i < len(cascade.margins):
                two = codes.flatten(1).topk(2, dim=1).values
                rows = rows[(two[:, 0] - two[:, 1]) <= cascade.margins[i]]
                if not len(rows):
                    break
        assert result is not None
        return result


def edge_key(name: str) -> str:
    """The name of an edge in ``Net.edges``, one to one: no dot in it, and nothing that ``ModuleDict`` itself is called.

    ``/`` stands for a dot; ``~0`` and ``~1`` for ``~`` and ``/``, as in a JSON pointer.
    """
    key = name.replace("~", "~0").replace("/", "~1").replace(".", "/")
    return f"{key}/" if hasattr(nn.ModuleDict, key) or key == "training" else key


def _edge_owners(steps: tuple[Step, ...]) -> dict[str, str]:
    owners = {INPUT: INPUT}
    for step in steps:
        owners[step.out] = owners[step.ins[0]] if step.edge == "same" else step.out
    return owners
