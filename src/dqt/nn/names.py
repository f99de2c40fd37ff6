"""How values and modules of a network are called: as the model calls what they come from."""

from __future__ import annotations

from collections.abc import Iterable

from torch import fx

from dqt.nn.calls import module_path
from dqt.nn.errors import UnsupportedError
from dqt.nn.folding import Constants

OWN_NAMES = ("quantizers", "controller")
"""Modules that a prepared network has beside the user's."""


class Names:
    """The names that are given.

    Args:
        constants: of the model, with their names; modules may share a tensor, which then has several.
        taken: names of values that nothing else may have.
    """

    def __init__(self, constants: Constants, taken: Iterable[str]) -> None:
        self.constants, self.tensors = constants, dict(constants.tensors.values())
        self._values: dict[str, int] = dict.fromkeys(taken, 1)
        self._paths: set[str] = set()
        self._same: dict[int, list[str]] = {}
        for name, tensor in self.tensors.items():
            if tensor.data_ptr():
                self._same.setdefault(tensor.data_ptr(), []).append(name)

    def fresh(self, base: str) -> str:
        """A name that no other value has."""
        count = self._values.get(base, 0)
        self._values[base] = count + 1
        return self.fresh(f"{base}_{count}") if count else base

    def all(self, name: str) -> list[str]:
        """Every name of the tensor ``name``."""
        return self._same.get(self.tensors[name].data_ptr(), [name])

    def of(self, call: fx.Node, arg: fx.Node, leaf: str) -> str:
        """The name of a constant: the one that it has in the module whose call this is, or its first.

        What the model computes is called ``leaf`` of its module, or of the module that it is computed from.
        """
        name, module = self.constants.name(arg), module_path(call)
        if name is not None:
            own = f"{module}.{leaf}"
            return own if own in self.all(name) else self.all(name)[0]
        sources = sorted(self.constants.sources(arg))
        common = sources[0].partition(".parametrizations.")[0].rpartition(".weight")[0] if sources else ""
        return ".".join(part for part in (module or common, leaf) if part)

    def path(self, name: str) -> str:
        """Where the module of the parameter ``name`` goes: ``layer1.0.conv1.weight`` -> ``layer1.0.conv1``.

        A second module there is ``layer1.0.conv1_1``.

        Raises:
            UnsupportedError: a module of that name stands beside the user's.
        """
        path, _, leaf = name.rpartition(".")
        path = (path or self._root()) if leaf in ("weight", "running_mean") else name
        if path.split(".")[0] in OWN_NAMES:
            raise UnsupportedError(
                f"the model has a submodule named {path.split('.')[0]!r}, a name that dqt uses: rename it"
            )
        base, count = path, 0
        while path in self._paths:
            count += 1
            path = f"{base}_{count}"
        self._paths.add(path)
        return path

    def _root(self) -> str:
        """A name for the module of a parameter that the model itself holds."""
        name, taken = "model", {name.split(".")[0] for name in self.tensors}
        while name in taken:
            name += "_"
        return name
