"""torch.export's graph -> nodes, as they are: what an operator becomes stands in its file of :mod:`dqt.nn.ops`.

Nothing is rewritten while it is read; that is the work of :mod:`dqt.nn.passes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from dqt.nn.assign import is_view, read_again, way_to, written
from dqt.nn.calls import in_place, inputs_of, is_float, is_number, module_path, shape_of, source_line, tensors_of
from dqt.nn.decompose import take_apart
from dqt.nn.errors import Obstacle, UnsupportedError
from dqt.nn.example import Example
from dqt.nn.export import Exported
from dqt.nn.finite import check_numbers
from dqt.nn.folding import Constants
from dqt.nn.graph import Graph, Node
from dqt.nn.inputs import Inputs, bounded
from dqt.nn.moves import returned
from dqt.nn.names import Names
from dqt.nn.operator import Handler, handlers, operators, reads_integers, whole_handlers
from dqt.nn.ops.constant import add_constant
from dqt.nn.placement import Placement, Placements
from dqt.nn.scales import ScaleSpec
from dqt.nn.structure import dotted

ADVICE = (
    "Replace it by supported operators (docs/guide/your-model.md lists them), or leave that part outside the prepared "
    "model."
)


@dataclass(frozen=True)
class NormSpec:
    """What a batch norm was: tensors and constants."""

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor
    var: Tensor
    momentum: float
    eps: float

    def same(self, other: NormSpec) -> bool:
        """Whether it is the norm of the same module: it has the same statistics in the same memory."""
        ours, theirs = ((s.mean, s.var, s.weight, s.bias) for s in (self, other))
        places = [tuple(0 if t is None else t.data_ptr() for t in each) for each in (ours, theirs)]
        return places[0] == places[1] and self.eps == other.eps


@dataclass
class Captured:
    """The network as nodes, and the tensors that its layers and norms start from.

    ``uses``: parameter of the model -> path and name of each tensor that it becomes, or that is computed from it.
    ``frozen``: names of tensors among these, such as ``conv1.weight``, that the model does not train: parameters
    without ``requires_grad``, and weights that it holds as buffers. ``calls``: the operator that each value comes from.
    ``modules``: those that operators without a width bring, by path.
    """

    inputs: Inputs
    graph: Graph = field(default_factory=lambda: Graph((), ()))
    layers: dict[str, tuple[Tensor, Tensor | None]] = field(default_factory=dict)
    norms: dict[str, NormSpec] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    held: dict[str, tuple[Tensor, bool]] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)
    uses: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    calls: dict[str, fx.Node] = field(default_factory=dict)


class Builder:
    """Walks the exported graph and collects nodes; handlers call its methods.

    Values are named once. An in-place operator makes a new value, and every node of the changed memory comes to mean
    it: ``memory`` says which nodes share one.
    """

    def __init__(self, exported: Exported, example: Example, sizes: Mapping[Any, int] | None = None) -> None:
        program, names = exported.program, example.inputs.names
        self.captured = Captured(example.inputs)
        self.nodes: list[Node] = []
        self.values: dict[fx.Node, str] = {}
        self.memory: dict[fx.Node, fx.Node] = {}
        self.tensors = tensors_of(program)
        self.scales: dict[str, ScaleSpec] = {}
        self.held = self.captured.held
        self.trained = {name for name, parameter in program.named_parameters() if parameter.requires_grad}
        self.made: dict[tuple[fx.Node, tuple[int, ...]], str] = {}
        self.graph, self.result = program.graph, exported.result
        self.order = {call: i for i, call in enumerate(self.graph.nodes)}
        self.obstacles: list[Obstacle] = []
        self.lost: set[fx.Node] = set()
        self.bounds: dict[str, int] = {}
        self.inputs = inputs_of(program)
        self.batch = self.inputs[0].meta["val"].shape[0].node.expr
        self.constants = Constants(self.tensors, self.batch, sizes or {})
        self.placements = Placements(self.constants.number, self.unsupported)
        self.names = Names(self.constants, names)
        self.fresh, self.path = self.names.fresh, self.names.path
        for placeholder, name in zip(self.inputs, names, strict=True):
            self.values[placeholder], self.memory[placeholder] = name, placeholder
            self.placements.put(placeholder, Placement())
            self.captured.shapes[name] = self.shape(placeholder)
        self.first = names[0]

    def build(self) -> Captured:
        """Run the handler of every operator; check the outputs.

        Raises:
            UnsupportedError: names everything that cannot be captured.
        """
        for call in list(self.graph.nodes):
            self._capture(call)
        outputs = self._outputs()
        if self.obstacles:
            raise UnsupportedError.of(self.obstacles)
        self.captured.inputs = bounded(self.captured.inputs, self.bounds)
        names = self.captured.inputs.names
        shapes = {name: self.captured.shapes[name] for name in names}
        self.captured.graph = Graph(tuple(self.nodes), outputs, self.scales, names, shapes=shapes)
        return self.captured

    def _capture(self, call: fx.Node) -> None:
        """Append the nodes of one operator, or note what is wrong with it and go on."""
        if call.op != "call_function" or not (call.users or in_place(call)) or is_number(call):
            return
        if self.constants.fold(call):
            return
        handler = self._handler(call)
        try:
            if handler is None:
                raise self.unsupported(call, "is not among the operators that can be quantized")
            if not self.lost.isdisjoint(call.all_input_nodes):
                self.lost.add(call)
                return
            self.values[call] = handler(self, call)
            self._remember(call)
            self.placements.note(call)
        except UnsupportedError as error:
            self.values.pop(call, None)
            obstacles = error.obstacles or [Obstacle(str(error))]
            if not self._capture_parts(call, obstacles):
                self.obstacles += obstacles
                self._stand_in(call)

    def _capture_parts(self, call: fx.Node, obstacles: Sequence[Obstacle]) -> bool:
        """Whether ``call`` is made of other operators, which are in its place now; ``obstacles`` if not all go."""
        made, known = take_apart(call, self.graph), len(self.obstacles)
        for each in made:
            self.order[each] = self.order[call]
            self._capture(each)
        if len(self.obstacles) > known:
            self.obstacles[known:] = obstacles
        return bool(made)

    def _handler(self, call: fx.Node) -> Handler | None:
        """What appends the nodes of an operator; of integers that are given, such as tokens, one of its own."""
        name = str(call.target)
        given = [each for each in call.all_input_nodes if each in self.values and isinstance(each.meta["val"], Tensor)]
        floats = [is_float(each) for each in given]
        if name in whole_handlers() and given and not any(floats):
            return whole_handlers()[name]
        if name not in handlers() or name in reads_integers() or all(floats):
            return handlers().get(name)
        return _refuse_integers

    def _stand_in(self, call: fx.Node) -> None:
        """A name for the result of an operator that is not captured, or none where its shape says nothing."""
        try:
            shape = self.shape(call) if isinstance(call.meta["val"], Tensor) else None
        except UnsupportedError:
            shape = None
        if shape is None or not self.lost.isdisjoint(call.all_input_nodes):
            self.lost.add(call)
            return
        self.values[call], self.memory[call] = self.fresh(call.name), call
        self.captured.shapes[self.values[call]] = shape

    def _outputs(self) -> tuple[str, ...]:
        """The values that the model returns, in order."""
        (results,) = next(n for n in self.graph.nodes if n.op == "output").args
        found = []
        for path, result in zip(self.result.paths, results, strict=True):
            name = dotted(path)
            if result in self.values and is_float(result):
                found.append(returned(self, result))
                if not self.placements.of(result).plain:
                    why = f"the model returns a tensor of shape {shape_of(result)} ({name or 'output'})"
                    self.obstacles.append(Obstacle(f"{why}: its first dimension must be the batch, alone"))
            elif result in self.values:
                why = f"the model returns integers that it is given ({name}): return them outside of the prepared part"
                self.obstacles.append(Obstacle(why))
            elif result not in self.lost:
                what = f"its output {name!r}" if name else "its output"
                why = f"{what} does not depend on the input: return it outside of the prepared model"
                self.obstacles.append(Obstacle(f"the model returns a constant; {why}"))
        return tuple(found)

    def _remember(self, call: fx.Node) -> None:
        """Note whose memory the result has; after an in-place operator, whoever reads it reads what it became."""
        changed = call.args[0] if call.args else None
        if (
            not isinstance(changed, fx.Node)
            or changed not in self.memory
            or not (in_place(call) or is_view(self, call))
        ):
            self.memory[call] = call
            return
        root = self.memory[call] = self.memory[changed]
        if not in_place(call):
            return
        now, whole = {self.values[changed]: self.values[call]}, self.values[root]
        group = [each for each in self.values if self.memory[each] is root]
        again = [each for each in group if any(self.order[user] > self.order[call] for user in each.users)]
        if whole not in now and again:
            now[whole] = written(self, call, changed, self.values[call])
        others = [each for each in again if each is not call and self.values[each] not in now]
        for each in group:
            self.values[each] = now.get(self.values[each], self.values[each])
        for each in others:
            self.values[each] = read_again(self, call, each)

    # what handlers use

    def own(self, view: fx.Node) -> None:
        """Let a constant, of which ``view`` is a part, be a value of the network that may be changed in place."""
        root, *way = way_to(self, view)
        if root not in self.values:
            for each in (root, *way):
                self.operand(view, each)
                self.memory[each] = root
            self.constants.forget(root)

    def arg(self, call: fx.Node, index: int, name: str, default: Any = None) -> Any:
        """An argument by position or name."""
        return call.args[index] if index < len(call.args) else call.kwargs.get(name, default)

    def value(self, call: fx.Node, arg: Any) -> str:
        """The name of an operand whose first dimension is the batch, alone.

        Raises:
            UnsupportedError: it is a number, a parameter or a constant, or its batch stands elsewhere.
        """
        name = self.operand(call, arg)
        if not self.placements.of(arg).plain:
            raise self.unsupported(
                call, f"reads a tensor of shape {shape_of(arg)}: its first dimension must be the batch, alone"
            )
        return name

    def operand(self, call: fx.Node, arg: Any) -> str:
        """The name of an operand wherever its batch stands (``placements``); a constant has it for every sample.

        Raises:
            UnsupportedError: it is a number or a parameter.
        """
        constant = isinstance(arg, fx.Node) and arg not in self.values and self.constants.of(arg) is not None
        if constant and self.placements.sized(arg):
            self.values[arg], self.memory[arg] = add_constant(self, call, arg, self.shape(arg)), arg
        if isinstance(arg, fx.Node) and arg in self.values:
            return self.values[arg]
        raise self.unsupported(call, "has an operand that is a constant or a parameter, not an activation")

    def bound(self, call: fx.Node, arg: Any, most: int) -> str:
        """The name of an operand of integers, such as tokens; from now on they must lie in ``[0, most]``."""
        value = name = self.operand(call, arg)
        while (node := next((n for n in self.nodes if n.out == name), None)) is not None:
            if not operators()[node.kind].moves:
                return value  # computed: the program proves where it lies
            name = node.ins[0]
        self.bounds[name] = min(most, self.bounds.get(name, most))
        return value

    def tensor(self, call: fx.Node, arg: Any, leaf: str = "weight") -> tuple[str, Tensor]:
        """Name and value of a parameter or buffer, or of what is computed from some.

        Args:
            leaf: how a module calls it, where it has no name of its own.
        """
        tensor = self.constants.of(arg)
        if tensor is None or not isinstance(arg, fx.Node):
            raise self.unsupported(call, f"has a {leaf} that is computed from the input, not a parameter of the model")
        name = self.names.of(call, arg, leaf)
        if self.trains(arg):
            self.trained.add(name)
        check_numbers(name, tensor)
        return name, tensor

    def use(self, arg: Any, path: str, leaf: str) -> None:
        """Note where the parameters go that ``arg`` is computed from: into a tensor of the module at ``path``."""
        for name in sorted(self.constants.sources(arg)) if isinstance(arg, fx.Node) else ():
            if isinstance(self.names.tensors[name], nn.Parameter):
                self.captured.uses.setdefault(self.names.all(name)[0], []).append((path, leaf))

    def shape(self, call: fx.Node) -> tuple[int, ...]:
        """The shape of the node's value, without the batch.

        Raises:
            UnsupportedError: the node has no samples, mixes them, or other dimensions are not fixed.
        """
        return self.placements.shape(call)

    def note_frozen(self, path: str, **tensors: str | None) -> None:
        """Remember which tensors of the module at ``path`` the model does not train; each is given by its own name."""
        frozen = {leaf for leaf, name in tensors.items() if name is not None and name not in self.trained}
        self.captured.frozen |= {f"{path}.{leaf}" for leaf in frozen}

    def trains(self, arg: Any) -> bool:
        """Whether the model trains a constant operand, or something that it is computed from."""
        return isinstance(arg, fx.Node) and not self.trained.isdisjoint(self.constants.sources(arg))

    def varies(self, arg: Any) -> bool:
        """Whether an operand is as long as a named dimension."""
        return isinstance(arg, fx.Node) and not all(isinstance(d, int) for d in arg.meta["val"].shape)

    def scale_path(self, call: fx.Node, constant: Any) -> str:
        """Where the module of a constant operand goes: where the model has it, or below the operator's own name."""
        name = self.constants.name(constant)
        return self.path(name or ".".join(part for part in (module_path(call), call.name, "scale") if part))

    def add(self, call: fx.Node, kind: str, ins: Sequence[str], name: str = "", **fields: Any) -> str:
        """Append a node that computes ``call``."""
        shape = fields.pop("shape") if "shape" in fields else self.shape(call)
        base = name or ".".join(part for part in (module_path(call), call.name) if part)
        node = Node(kind, self.fresh(base), tuple(ins), shape, **fields)
        self.nodes.append(node)
        self.captured.calls[node.out] = call
        self.captured.shapes[node.out] = shape
        return node.out

    def keep(self, call: fx.Node, kind: str, **attrs: Any) -> str:
        """Append a node that keeps the codes of its input."""
        return self.add(call, kind, [self.value(call, call.args[0])], quantizer="same", attrs=attrs)

    def unsupported(self, call: fx.Node, why: str) -> UnsupportedError:
        """An error that names the operator, the module path and the source line."""
        module = module_path(call) or "the model's forward"
        return UnsupportedError.of([Obstacle(f"{why}.", str(call.target), module, source_line(call), ADVICE)])


def _refuse_integers(b: Builder, call: fx.Node) -> str:
    """In the place of a handler: integers that are given, such as tokens, have no scale."""
    raise b.unsupported(call, "computes with integers that the model is given: make floats of them (.float())")
