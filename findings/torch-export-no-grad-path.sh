#!/usr/bin/env bash
# Guess: torch.export records which module every operator came from, and run_decompositions({}), with an empty table, keeps it.
# Seen:  a layer called inside `with torch.no_grad()` goes into a sub-graph of its own, so a walk over the exported graph meets no
#        linear there. run_decompositions({}) puts the operators back into the main graph, but nn_module_stack of the linear now
#        ends at the module that holds the `with`, not at the layer: "a" in place of "a.layer". Layers outside keep their path.
# With:  torch 2.13.0, numpy 2.4.6, Python 3.11.
set -euo pipefail
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
python3 -m venv "$t/venv"
"$t/venv/bin/pip" --disable-pip-version-check install -q torch==2.13.0 numpy==2.4.6
cd "$t"
venv/bin/python -W ignore - <<'PY'
import sys

import torch


class Frozen(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, x):
        with torch.no_grad():
            y = self.layer(x)
        return y + 1


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Frozen(), torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.b(self.a(x))


def linears(graph):
    found = [n for n in graph.nodes if n.target == torch.ops.aten.linear.default]
    return [list(n.meta["nn_module_stack"].values())[-1][0] for n in found]


exported = torch.export.export(Net(), (torch.ones(1, 2),))
main = linears(exported.graph)
inner = [path for m in exported.graph_module.children() for path in linears(m.graph)]
after = linears(exported.run_decompositions({}).graph)
print("linear layers in the exported graph:", main, "in its sub-graphs:", inner, "after run_decompositions({}):", after)
sys.exit((main, inner, after) != (["b"], ["a.layer"], ["a", "b"]))
PY
