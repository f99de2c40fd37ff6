"""The prepared network: a torch module that trains on nested widths and computes the served integers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dqt.arith.cascade import Cascade
from dqt.arith.errors import InputError
from dqt.arith.plan import AUTO, Plan, PlanLike, Space, resolve
from dqt.nn import integers
from dqt.nn.config import Config
from dqt.nn.exact import run_cascade, run_exact
from dqt.nn.former import FormerNames
from dqt.nn.graph import Node, last_uses
from dqt.nn.inputs import Input
from dqt.nn.layers import WidthLayer
from dqt.nn.norms import Norm
from dqt.nn.operator import operators
from dqt.nn.outputs import Signature
from dqt.nn.quantizers import name_as_now, quantizer_key, quantizer_owners, read_as_floats
from dqt.nn.ranges import Quantizer, Signal
from dqt.nn.routed import late_of, run_routed
from dqt.nn.run import Choice, Late, Run, controller_widths
from dqt.nn.scales import Held, RowAffine, Scale
from dqt.nn.served import Served
from dqt.nn.summary import Summarized
from dqt.program.program import Program

if TYPE_CHECKING:
    from dqt.nn.diagnose import Finding

__all__ = ["CONTROLLER", "InputError", "Net", "quantizer_key"]

CONTROLLER = "controller."
OUTPUT_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


class Net(FormerNames, Summarized):
    """A network whose layers run at any width; made by :func:`dqt.prepare`.

    Modules and parameters have the names of the user's model; beside them stand ``quantizers`` (ranges of activations)
    and, where there is one, ``controller``. Widths are an argument of the call, never a state.

    Attributes:
        config: what it was prepared with.   space: the plans it accepts.   nodes: its operators in order.
        signature: what it takes and gives;  inputs, outputs: by name, in order.
        shapes: of every value, without the batch.   floats: inputs that become codes behind a multiply-add alone.
        entries: the values that codes are first made of.
        output_dtype: of what a call returns; parameters and arithmetic are float32, whatever the network was cast to.
        variants: nodes at a few sizes of named dimensions, and these sizes; empty without such dimensions.
        findings: what the last calibration warned about; not a part of the state.
    """

    accepts_loss_kwargs = False
    """Hugging Face's Trainer asks a model whose forward takes any name whether it takes counts of tokens, too."""

    def __init__(self, config: Config, space: Space, nodes: Iterable[Node], signature: Signature) -> None:
        super().__init__()
        self.config, self.space, self.nodes, self.signature = config, space, tuple(nodes), signature
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self.shapes = {one.name: one.shape for one in self.inputs.each} | {node.out: node.shape for node in self.nodes}
        self.owners = quantizer_owners(self.inputs.names, self.nodes, signature.kept)
        self._int32 = {node.out for node in self.nodes if node.quantizer in ("int32", "float")}
        self.entries = {*self.inputs.names, *(node.out for node in self.nodes if node.kind == "standardize")}
        self.floats = read_as_floats(self.inputs.names, self.nodes, [output.value for output in self.outputs])
        self.quantizers = nn.ModuleDict()
        self.register_load_state_dict_pre_hook(name_as_now)  # type: ignore[no-untyped-call]
        self.ready: Tensor
        self.register_buffer("ready", torch.tensor(False))
        self.findings: tuple[Finding, ...] = ()
        self._dead = last_uses(self.nodes, [output.value for output in self.outputs])
        self._fake = {node.out: operators()[node.kind].fake for node in self.nodes}
        readers = [(name, bool(node.layer or node.product)) for node in self.nodes for name in node.ins]
        self._shared = {name for name, _ in readers if {(name, True), (name, False)} <= set(readers)}
        self.variants: tuple[tuple[tuple[Node, ...], dict[str, int]], ...] = ()
        self._served = Served()
        self.output_dtype = torch.float32

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Net:
        """Move the network; a cast (``half``, ``double``, ``to``, ``type``) becomes the type of its output alone.

        Parameters stay float32, of which the integers are made: a network that was cast has the same integers.
        """
        to = {fn(torch.zeros(1, dtype=d, device=self.ready.device)).dtype for d in (torch.float32, torch.float16)}
        device = fn(torch.zeros(1, device=self.ready.device)).device
        if len(to) > 1:  # it keeps the type that it finds
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
            return self
        (self.output_dtype,) = to
        if self.output_dtype not in OUTPUT_DTYPES:
            raise InputError(f"a prepared network computes in float32: its output cannot become {self.output_dtype}")
        super()._apply(lambda tensor: tensor.to(device), recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, Any]:
        """A copy or a pickle makes a program of its own."""
        return self.__dict__ | {"_served": Served()}

    def get_submodule(self, target: str) -> nn.Module:
        """The module at a path, as the model had it; also where the path begins with the name of a method of ours."""
        module = self.find(target) if target else self
        return super().get_submodule(target) if module is None else module

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that carry a width, in order, as in the model."""
        return self.space.names

    @property
    def calibrated(self) -> bool:
        """Whether ranges come from data (``dqt.calibrate``) and not from the example input alone."""
        return bool(self.ready)

    def forward(self, *given: Any, plan: PlanLike = None, exact: bool = False, **inputs: Any) -> Any:
        """The network at the widths of ``plan``: ``net(x)``, ``net(x, 4)``, ``net(a, b)``, ``net(a, b, plan=4)``.

        Args:
            given: float ``[N, *input_shape]``; of a network with several inputs as many tensors, or a dict by name, a
                tuple in order, the structure of the example. An input of integers takes integers. Behind them the plan.
            plan: a width, a mapping, a :class:`dqt.Plan`, ``"auto"``, or (exact alone) a :class:`dqt.Cascade`;
                default: the master width.
            exact: ``True``: the program's own integers, dequantized once: equal to ``dqt.interpret`` to the bit, on
                any device, without gradient and with the statistics of evaluation. ``False``: differentiable.
            inputs: by name, as the model takes them: ``net(**batch)``.

        Returns:
            float32 ``[N, ...]``, in the structure that the model returned it in (such as ``{"logits": y}``).

        Raises:
            InputError: names, shape or dtype do not fit; in an exact run also NaN or infinity.
            PlanError: the plan does not fit.
            UnsupportedError: an exact run, but a parameter is not finite; names it.
        """
        x, plan = self.inputs.called(given, plan, inputs)
        return self.signature.structure.around([y.to(self.output_dtype) for y in self.tensors(x, plan, exact=exact)])

    def tensors(self, x: Any, plan: PlanLike = None, *, exact: bool = False) -> tuple[Tensor, ...]:
        """The outputs alone of :meth:`forward`, float32, in the order of ``outputs``."""
        fixed = resolve(self.space, plan)
        if isinstance(fixed, Cascade):
            if not exact:
                raise InputError("a cascade decides on integer outputs: call with exact=True")
            return run_cascade(self, x, fixed)
        if fixed == AUTO:
            return self.routed(x, exact=exact)[0]
        assert isinstance(fixed, Plan)
        if exact:
            return run_exact(self, x, fixed).outputs
        return self.run(
            x, Run(dict(fixed.items_) | controller_widths(self.space), batch_statistics=self.training), False
        )

    def tensor(self, x: Any, plan: PlanLike = None, *, exact: bool = False) -> Tensor:
        """The only output of :meth:`forward`, float32, whatever structure the model returns it in.

        Raises:
            InputError: the network has several.
        """
        return self._only(self.tensors(x, plan, exact=exact))

    def _only(self, outputs: tuple[Tensor, ...]) -> Tensor:
        if len(outputs) == 1:
            return outputs[0]
        names = ", ".join(repr(output.name) for output in self.outputs)
        raise InputError(f"the network has {len(outputs)} outputs ({names}), where one is needed")

    def routed(
        self, x: Any, temperature: float | None = None, noise: Tensor | None = None, *, exact: bool = False
    ) -> tuple[tuple[Tensor, ...], Choice]:
        """Each sample at the widths that the controller chooses for it.

        Args:
            temperature: of the Gumbel-softmax; ``None``: 1.
            noise: Gumbel noise ``[N, chosen layers, choices]``; ``None``: none, so the argmax is taken.

        Returns:
            the outputs, float32 ``[N, ...]`` each, and the choice.
        """
        return run_routed(self, x, temperature, noise, exact=exact)

    @property
    def late(self) -> Late | None:
        """How the controller decides, if it does so late."""
        return late_of(self)

    def route(
        self, x: Any, temperature: float | None = None, noise: Tensor | None = None, *, exact: bool = False
    ) -> tuple[Tensor, Choice]:
        """:meth:`routed` of a network with one output: that output, and the choice."""
        y, choice = self.routed(x, temperature, noise, exact=exact)
        return self._only(y), choice

    def clips(self) -> dict[str, Tensor]:
        """Every clip and range by name, detached: ``[out]`` for weights (``<layer>.weight``), 0-d for activations."""
        weights = {f"{m.name}.weight": m.clip.detach() for m in self.modules() if isinstance(m, WidthLayer)}
        own = (each for each in self.quantizers.values() if isinstance(each, Quantizer))
        return weights | {each.name: each.clip.detach() for each in own}

    # what operators ask for

    def layer(self, name: str) -> WidthLayer:
        """The layer of a node."""
        module = self.find(name)
        if not isinstance(module, WidthLayer) or module.name != name:
            raise _replaced(name, module)
        return module

    def find(self, path: str) -> nn.Module | None:
        """The module at a path, ``None`` if there is none."""
        module: nn.Module | None = self
        for name in path.split("."):
            module = module._modules.get(name) if module is not None else None
        return module

    def affine(self, path: str) -> Norm | Scale | None:
        """What a node multiplies by and adds, if it does: a batch norm, or constants."""
        if not path:
            return None
        module = self.find(path)
        if not isinstance(module, Norm | Scale):
            raise _replaced(path, module)
        return module

    def held(self, path: str) -> Tensor:
        """A tensor that is the same for every sample."""
        module = self.find(path)
        assert isinstance(module, Held)
        return module.value

    def row_affine(self, path: str) -> tuple[Tensor | None, Tensor | None]:
        """Gain and bias of a norm of rows, where it has them."""
        module = self.find(path)
        if not isinstance(module, RowAffine):
            raise _replaced(path, module)
        return module.weight, module.bias

    def norm(self, path: str) -> Norm | None:
        """The batch norm of a node, if it has one."""
        module = self.affine(path)
        return module if isinstance(module, Norm) else None

    def quantizer(self, node: Node) -> Quantizer | None:
        """The quantizer of a node's result, ``None`` where it stays int32."""
        return None if self.owners[node.out] in self._int32 else self.quantizer_of(node.out)

    def quantizer_of(self, value: str) -> Quantizer:
        """The quantizer whose codes a value has."""
        quantizer = self.quantizers[quantizer_key(self.owners[value])]
        assert isinstance(quantizer, Quantizer)
        return quantizer

    def codes(self, value: str) -> integers.Codes:
        """How the codes of a value stand for reals."""
        return integers.quantizer_codes(self.quantizer_of(value))

    # running

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample of the only input.

        Raises:
            InputError: the network has several.
        """
        return self.inputs.only.shape

    def check_input(self, x: Any) -> None:
        """Raise :class:`InputError` unless ``x`` holds every input, ``[N, *shape]`` each, N >= 1."""
        self.inputs.take(x)

    def run(self, x: Any, run: Run, routed: bool) -> tuple[Tensor, ...]:
        """The outputs of one differentiable pass, float32; ``routed``: with the controller."""
        values = self.read(x, run)
        with run.precision(self.ready.device):
            for node, dead in zip(self.nodes, self._dead, strict=True):
                if routed or not node.controller:
                    values[node.out] = self.fake_node(node, [values[name] for name in node.ins], run)
                for name in dead:
                    values.pop(name, None)
        return tuple(values[output.value].master.float() for output in self.outputs)

    def _run(self, x: Any, run: Run, routed: bool) -> Tensor:
        return self._only(self.run(x, run, routed))

    def read(self, x: Any, run: Run) -> dict[str, Signal]:
        """The inputs as signals, by name."""
        given = zip(self.inputs.each, self.inputs.take(x), strict=True)
        return {one.name: self._read(one, tensor, run) for one, tensor in given}

    def _read(self, one: Input, x: Tensor, run: Run) -> Signal:
        if one.kind == "integer" or one.name in self.floats:
            return Signal(x if one.kind == "integer" else x.float(), None, run.quantized)
        x, quantizer = x.float(), self.quantizer_of(one.name)
        if run.batch_statistics and quantizer.training and quantizer.name == one.name:
            quantizer.observe(x)
        return Signal(x, quantizer, run.quantized)

    def fake_node(self, node: Node, ins: list[Signal], run: Run) -> Signal:
        """One node, differentiable; a tracked range sees its batch first."""
        signal = self._fake[node.out](self, node, ins, run)
        if node.clamps:
            signal = signal.like(node.clamped(signal.raw))
        quantizer, signal.shared = signal.quantizer, node.out in self._shared
        follows = quantizer is not None and quantizer.training and not quantizer.learned
        tracked = follows and node.quantizer not in ("same", "int32")
        if run.batch_statistics and quantizer is not None and tracked:
            quantizer.observe(signal.raw)
        return signal

    def at_sizes(self) -> list[Net]:
        """The network as its nodes are at each of a few sizes of its named dimensions, with the same parameters."""
        return [self._at(nodes, sizes) for nodes, sizes in self.variants] or [self]

    def _at(self, nodes: tuple[Node, ...], sizes: dict[str, int]) -> Net:
        view = copy.copy(self)
        view.nodes, view.signature = nodes, self.signature.at(sizes)
        view.inputs, view.variants = view.signature.inputs, ()
        view.shapes = {one.name: one.shape for one in view.inputs.each} | {node.out: node.shape for node in nodes}
        return view

    def program(self) -> Program:
        """The integer program of the parameters as they are now; made anew when a parameter or buffer has changed."""
        return self._served.of(self)

    def frozen(self) -> AbstractContextManager[None]:
        """A context in which the parameters stand still, so that its exact runs compare no numbers.

        Raises:
            InputError: at its end, a parameter did change in a way that its exact runs could not see.

        >>> with net.frozen():
        ...     for x in batches:
        ...         net(x, 4, exact=True)
        """
        return self._served.held(self)


def _replaced(path: str, module: nn.Module | None) -> InputError:
    now = f"the layer {module.name}" if isinstance(module, WidthLayer) else f"an object of type {type(module).__name__}"
    return InputError(
        f"{path} is no longer what dqt.prepare put there, but {now}: change the float model and prepare it again"
    )
