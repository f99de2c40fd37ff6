"""The header and the source of an exported program."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dqt.arith.plan import uniform
from dqt.export.c99.code import Code
from dqt.program.schema import size
from dqt.program.values import FLOAT, State

HEADER = """\
/* {title}. Written by dqt.export.c: change the program, not this file. */
#ifndef {NAME}_H
#define {NAME}_H

#include <stddef.h>
#include <stdint.h>

#define {NAME}_ARENA {arena} /* bytes of all values that live at a time */
#define {NAME}_LAYERS {layers}

{width}/* A network between runs, {name}_init makes it ready.{of_widths} */
typedef struct {{
    union {{
        int64_t aligned;
        uint8_t bytes[{NAME}_ARENA];
    }} arena;
{widths}{states}}} {name}_t;

{listing}
void {name}_init({name}_t *self);
{auto}
/* Runs one sample. {returns} */
int {signature};

#endif
"""

WIDTH = """\
/* The width of a layer's weights and of its input. Widths: {widths}. */
typedef struct {{
    uint8_t weights, activations;
}} {name}_width;

"""
AUTO = """
/* As `widths`: the network chooses them. */
extern const {name}_width {name}_auto[1];
"""
OF_WIDTHS = """`widths`: {NAME}_LAYERS of them, or NULL for {default}{or_auto}.
   Returns 0; 1 if a width is none of the network's; 2 if an integer input is outside of its interval.
   Nothing has run then."""
LEGAL = """
/* Whether the network has a width. */
static int legal(unsigned b) {{ return b < 32 && ({mask:#x}u >> b & 1) != 0; }}
"""
FIXED = "Returns 0; 2 if an integer input is outside of its interval: nothing has run then."

SOURCE = """\
/* {title}. Written by dqt.export.c: change the program, not this file. */
#include "{name}.h"

#include <string.h>

#include "ops.h"

{constants}

{auto}
void {name}_init({name}_t *self) {{
{init}}}

int {signature} {{
{entry}
{calls}
    return 0;
}}
"""


def header(code: Code) -> str:
    """``NAME.h``."""
    space, layers, name = code.program.space, code.program.layers, code.name
    states = "".join(f"    {_kind(s.lo, s.hi)} state_{i}[{size(s.shape)}];\n" for i, s in _states(code))
    free = code.plan is None
    auto = free and space.automatic
    default = (
        f"{space.master} bits everywhere" if not space.packed else f"{space.packed} bits, the widest of its weights"
    )
    of_widths = OF_WIDTHS.format(NAME=name.upper(), default=default, or_auto=f", or {name}_auto" if auto else "")
    return HEADER.format(
        title=_title(code), NAME=name.upper(), name=name, arena=code.arena, layers=len(layers),
        width=WIDTH.format(name=name, widths=", ".join(map(str, space.widths))) if free else "",
        of_widths=" `widths`: of the last run, by layer." if free else "",
        widths=f"    {name}_width widths[{max(len(layers), 1)}];\n" if free else "",
        states=states, listing=_listing(code), auto=AUTO.format(name=name) if auto else "",
        returns=of_widths if free else FIXED, signature=_signature(code),
    )  # fmt: skip


def source(code: Code) -> str:
    """``NAME.c``."""
    name, free = code.name, code.plan is None
    auto = LEGAL.format(mask=sum(1 << b for b in code.program.space.widths)) if free else ""
    auto += _packed(code) if free and code.program.space.packed else ""
    if free and code.program.space.automatic:
        auto += f"const {name}_width {name}_auto[1] = {{{{0, 0}}}};\n{_first(code)}"
    return SOURCE.format(
        title=_title(code), name=name, constants="\n".join(code.constants), auto=auto, init=_init(code),
        signature=_signature(code), entry=_entry(code), calls="\n".join(f"    {line}" for line in _calls(code)),
    )  # fmt: skip


def _packed(code: Code) -> str:
    """Of a packed program, by layer: the widest width of its weights, and the widths of a run that says none."""
    space = code.program.space
    held = ", ".join(str(space.widest_of(layer)) for layer in space.layers) or "0"
    widest = ", ".join(f"{{{weights}, {inputs}}}" for _, (weights, inputs) in uniform(space, space.widest).items_)
    return (
        f"static const uint8_t held[] = {{{held}}};\n"
        f"static const {code.name}_width widest[] = {{{widest or '{0, 0}'}}};\n"
    )


def _first(code: Code) -> str:
    """The widths that a run begins at whose controller chooses, by layer."""
    widths = uniform(code.program.space, code.program.first)
    begins = ", ".join(f"{{{weights}, {inputs}}}" for _, (weights, inputs) in widths.items_)
    return f"static const {code.name}_width first[] = {{{begins}}};\n"


def _title(code: Code) -> str:
    if code.plan is not None:
        return f"A network of {len(code.program.layers)} layers at fixed widths"
    widest = code.program.space.widest
    return f"A network of {len(code.program.layers)} layers whose weights hold every width up to {widest} bits"


def _kind(lo: int, hi: int) -> str:
    return "uint8_t" if lo == 0 and hi <= 255 else "int32_t"


def _states(code: Code) -> list[tuple[int, State]]:
    return list(enumerate(code.program.states))


def plain(name: str) -> str:
    """A name as a comment may hold it."""
    return re.sub(r"[^A-Za-z0-9_.\- ]", "_", name)


def _listing(code: Code) -> str:
    """What is given and taken, in order, as a comment."""
    program = code.program
    lines = [f"layer {i}: {plain(name)}{_at(code, name)}" for i, name in enumerate(program.layers)]
    for i, given in enumerate(program.inputs):
        kind = "float" if given.kind == FLOAT else f"int32_t in [{given.lo}, {given.hi}]"
        lines.append(f"input {i}: {plain(given.name)}, {kind} {list(given.shape)}")
    for i, out in enumerate(program.outputs):
        lines.append(f"output {i}: {plain(out.name)}, float {list(code.values[out.value].shape)}")
    lines += [f"state {i}: {plain(state.name)} {list(state.shape)}" for i, state in enumerate(program.states)]
    return "/* " + "\n   ".join(lines) + " */"


def _at(code: Code, layer: str) -> str:
    return "" if code.plan is None else ", weights of {} bits, inputs of {}".format(*code.plan[layer])


def _signature(code: Code) -> str:
    inputs = code.program.inputs
    kind = "float" if inputs[0].kind == FLOAT else "int32_t"
    taken = f"const {kind} *input" if len(inputs) == 1 else "const void *const inputs[]"
    given = "float *output" if len(code.program.outputs) == 1 else "float *const outputs[]"
    widths = f"const {code.name}_width *widths, " if code.plan is None else ""
    return f"{code.name}_run({code.name}_t *self, {taken}, {widths}{given})"


def _init(code: Code) -> str:
    lines = ["    memset(self, 0, sizeof *self);\n"]
    for i, state in enumerate(code.program.states):
        if state.zero:
            lines.append(f"    memset(self->state_{i}, {state.zero}, sizeof self->state_{i});\n")
    return "".join(lines)


def _entry(code: Code) -> str:
    """Checks of what is given, and the widths of the run."""
    lines = [*_check_inputs(code), *(_set_widths(code) if code.plan is None else [])]
    return "\n".join(f"    {line}" for line in lines)


def _calls(code: Code) -> list[str]:
    """The statements of a run; twice where the controller asks for more bits than the first time had."""
    if code.plan is not None or not (code.program.space.automatic and code.program.again):
        return code.calls
    lines = [f"    {line}" for line in code.calls]
    end = f"    if (!chooses || again || chosen[0] == {code.program.first}) break;"
    return ["for (int again = 0;; again = 1) {", *lines, end, "}"]


def _check_inputs(code: Code) -> Iterator[str]:
    for i, given in enumerate(code.program.inputs):
        if given.kind != FLOAT:
            x = "input" if len(code.program.inputs) == 1 else f"((const int32_t *)inputs[{i}])"
            yield f"for (size_t i = 0; i < {size(given.shape)}; i++)"
            yield f"    if ({x}[i] < {given.lo} || {x}[i] > {given.hi}) return 2;"


def _set_widths(code: Code) -> list[str]:
    name, space, lines = code.name, code.program.space, []
    if space.automatic:
        lines += [
            f"uint8_t chosen[{len(space.chosen)}];",
            f"const int chooses = widths == {name}_auto;",
            "if (chooses) widths = first;",
        ]
    layers = len(code.program.layers)
    held = " && widths[i].weights <= held[i]" if space.packed else ""
    weights, inputs = ("widest[i].weights", "widest[i].activations") if space.packed else (code.n, code.n)
    return [
        *lines,
        f"for (size_t i = 0; i < {layers}; i++)",
        f"    if (widths && !(legal(widths[i].weights) && legal(widths[i].activations){held})) return 1;",
        f"for (size_t i = 0; i < {layers}; i++) {{",
        f"    self->widths[i].weights = (uint8_t)(widths ? widths[i].weights : {weights});",
        f"    self->widths[i].activations = (uint8_t)(widths ? widths[i].activations : {inputs});",
        "}",
    ]
