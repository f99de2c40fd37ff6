"""What a user decides about quantization, checked and frozen."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Rule = Literal["auto", "midpoint", "nearest"]
DEFAULT_WIDTHS = (2, 3, 4, 5, 6, 7, 8)


class Controller(BaseModel):
    """The network that chooses widths for each input.

    By default it stands behind the stem and chooses a width for every layer. With ``after`` or ``rerun`` it decides
    late: what has run by then ran at ``first`` bits, and one width is chosen for all that follows.

    Attributes:
        choices: widths to choose from, ascending, each in ``Config.widths``; ``None``: all of them.
        hidden: units of its hidden layer; ``None``: as many as fit in 1 % of the model's parameters, at least 4.
        reads: the input, or the output of the stem (the model's first layer). Of a late decision some of "features",
            means of what the module ``after`` gives, and "margin", how far the next outputs lie below the largest:
            those of a whole run with ``rerun``, or of ``after``, such as a classifier inside of the model.
        margins: how many outputs below the largest the margin looks at.
        grid: it sees the mean of what it reads over a ``grid x grid`` raster.
        after: path of a module, such as ``"layer2"``: its features are read; without ``rerun`` the decision follows it.
        rerun: the decision follows a whole run: a sample stops, or runs again from its inputs at more bits.
        first: width of what runs before a late decision, one of the choices; ``None``: the least of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    choices: tuple[int, ...] | None = Field(default=None, min_length=1)
    hidden: int | None = Field(default=None, ge=1)
    reads: Literal["stem", "input"] | tuple[Literal["features", "margin"], ...] = "stem"
    margins: int = Field(default=1, ge=1)
    grid: int = Field(default=2, ge=1, le=16)
    after: str | None = Field(default=None, min_length=1)
    rerun: bool = False
    first: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "reads" in data or not (data.get("after") or data.get("rerun")):
            return data
        features, margin = ("features",) if data.get("after") else (), ("margin",) if data.get("rerun") else ()
        return {**data, "reads": (*features, *margin)}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.late:
            if not isinstance(self.reads, str):
                raise ValueError(
                    f"reads {self.reads} needs a late decision: give after, such as 'layer2', or rerun=True"
                )
            if self.first is not None:
                raise ValueError(
                    f"first {self.first} is of a late decision: give after, such as 'layer2', or rerun=True"
                )
            return self
        if isinstance(self.reads, str) or not self.reads:
            raise ValueError(f"reads {self.reads!r}: a late decision reads 'features', 'margin', or both")
        if "features" in self.reads and self.after is None:
            raise ValueError("reads 'features': name the module that they come from, such as after='layer2'")
        return self

    @property
    def late(self) -> bool:
        """Whether it decides behind a part of the network that has run."""
        return self.after is not None or self.rerun


class Config(BaseModel):
    """How a model is quantized.

    Attributes:
        master: the master width n, 2..8.
        widths: widths that can be chosen, ascending; contains ``master``.
        edge_width: width of the first and last layer under a uniform plan; ``None``: the master.
        norm: batch-norm statistics and affine for each width, or one set for all.
        weight_clip: ``"learned"`` (LSQ gradient) or ``"statistic"`` (the largest magnitude of each output channel).
        rule: how calibration has weights narrowed: ``"midpoint"`` (symmetric, without a zero below the master width),
            ``"nearest"`` (with a zero at every width, as pruned weights need), or by layer what leaves less error.
        input_signed: whether the input has negative values; ``False`` (pixels in [0, 1]) gains a bit of resolution.
        momentum: gamma of the moving average that tracks ranges which no clip is learned for, in [0, 1).
        apart: whether a few neurons whose weights stick out, such as those of a transformer that fire on its first
            token alone, get layers of their own, which run at the edge width.
        controller: the controller, or ``None``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    master: int = Field(default=8, ge=2, le=8)
    widths: tuple[int, ...] = DEFAULT_WIDTHS
    edge_width: int | None = None
    norm: Literal["per_width", "shared"] = "per_width"
    weight_clip: Literal["learned", "statistic"] = "learned"
    rule: Rule = "auto"
    input_signed: bool = True
    momentum: float = Field(default=0.99, ge=0.0, lt=1.0)
    apart: bool = True
    controller: Controller | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        filled = dict(data)
        master = filled.get("master", 8)
        if "widths" not in filled and isinstance(master, int):
            filled["widths"] = tuple(b for b in DEFAULT_WIDTHS if b <= master)
        if filled.get("edge_width") is None:
            filled["edge_width"] = master
        return filled

    @model_validator(mode="after")
    def _check(self) -> Self:
        if tuple(sorted(set(self.widths))) != self.widths or not self.widths:
            raise ValueError(f"widths {self.widths} must ascend without repeats, such as (2, 4, 8)")
        if self.widths[0] < 2 or self.widths[-1] != self.master:
            raise ValueError(f"widths {self.widths} must lie in 2..{self.master} and contain the master {self.master}")
        if self.edge_width not in self.widths:
            raise ValueError(f"edge_width {self.edge_width} is not among the widths {self.widths}")
        choices = self.choices
        first = None if self.controller is None else self.controller.first
        if first is not None and first not in choices:
            raise ValueError(f"controller first {first} is not among its choices {choices}")
        if self.controller is not None and self.controller.rerun and first not in (None, choices[0]):
            raise ValueError(f"controller first {first}: with rerun=True it is the least of the choices, {choices[0]}")
        if tuple(sorted(set(choices))) != choices or not set(choices) <= set(self.widths):
            raise ValueError(f"controller choices {choices} must ascend and be among the widths {self.widths}")
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "use_cache":  # Hugging Face's Trainer notes it on the config of whatever it trains
            super().__setattr__(name, value)

    @property
    def choices(self) -> tuple[int, ...]:
        """Widths that the controller chooses from; empty without a controller."""
        if self.controller is None:
            return ()
        return self.widths if self.controller.choices is None else self.controller.choices
