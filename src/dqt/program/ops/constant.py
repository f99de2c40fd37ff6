"""A tensor that is the same for every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dqt.program.errors import require
from dqt.program.operator import Operator, Scope
from dqt.program.schema import check_shape
from dqt.program.values import Int32, Names, Shape

if TYPE_CHECKING:
    from dqt.program.execute import Execution


@dataclass(frozen=True, eq=False)
class Constant(Operator):
    """Integers that do not depend on the input: positions, tokens that every sample has.

    Attributes:
        data: int32, each inside the interval of ``out``.
        dims: for each axis the name of a dimension, whose first so many entries are taken, or ""; () for none.
    """

    out: str
    data: Int32
    dims: Names

    def output_shape(self, scope: Scope) -> Shape:
        """That of the data, as long as its named dimensions are bound; see :meth:`Operator.output_shape`."""
        check_shape(self.data.shape, "data")
        least, most = scope.values[self.out].lo, scope.values[self.out].hi
        inside = least <= int(self.data.min()) and int(self.data.max()) <= most
        require(inside, f"an integer of data is not in [{least}, {most}]")
        shape = self.data.shape
        require(len(self.dims) in (0, len(shape)), f"dims {self.dims}, need () or one for each dimension of {shape}")
        return tuple(self._length(scope, i) for i in range(len(shape)))

    def _length(self, scope: Scope, axis: int) -> int:
        have, name = self.data.shape[axis], self.dims[axis] if self.dims else ""
        if not name:
            return have
        most = scope.dimension(name).most
        require(have >= most, f"data has {have} entries along axis {axis}, but dimension {name} may be {most}")
        return scope.sizes[name]

    def run(self, run: Execution) -> Any:
        """The integers, for each sample."""

        def made() -> Any:
            value = run.value(self.out)
            part = self.data[tuple(slice(d) for d in value.shape)]
            return run.xp.constant(part.astype(value.dtype))

        return run.xp.repeat(run.constant((self.out,), made), run.count)
