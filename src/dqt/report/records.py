"""What results are made of: layers, comparisons, metrics, times, samples; checked when they are read."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PNG = b"\x89PNG\r\n\x1a\n"

EngineName = Literal["native", "interpret"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[float, Field(gt=0, le=1e12)]
Bits = Annotated[int, Field(ge=1, le=8)]
MeanBits = Annotated[float, Field(ge=1, le=8)]
Pixel = Annotated[int, Field(ge=0, le=255)]
Grey = list[list[Pixel]]
Colour = list[list[list[Pixel]]]


class Record(BaseModel):
    """What is written once and never changed; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LayerRecord(Record):
    """One layer that carries a width.

    Attributes:
        name: as in the model.
        macs: multiply-accumulates per sample.
        weights: number of weights.
        accumulator_bits: two's complement bits that hold every accumulator, as proved when the program was made.
    """

    name: str
    macs: Count
    weights: Count
    accumulator_bits: Annotated[int, Field(ge=1, le=64)]


class Served(Record):
    """The engine that ran a row beside the interpreter, which defines the integers.

    Attributes:
        samples: how many were compared, spread over the test set.   equal: on how many every integer is the same.
    """

    samples: Annotated[int, Field(ge=1)]
    equal: Count

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Self:
        if self.equal > self.samples:
            raise ValueError(f"{self.equal} equal samples of {self.samples}")
        return self


class Metric(Record):
    """What the rows are judged by, where that is not top-1.

    Attributes:
        name: such as ``RMSE``.   unit: ``%`` where values are fractions.   higher: whether larger is better.
    """

    name: Annotated[str, Field(min_length=1)]
    unit: str = ""
    higher: bool = True


class Time(Record):
    """Milliseconds for one sample: of several rounds the median, the 10th and the 90th percentile."""

    ms: Milliseconds
    p10: Milliseconds
    p90: Milliseconds


TOP1 = Metric(name="top-1", unit="%")


class Sample(Record):
    """One input and the widths it got.

    Attributes:
        image: rows of grey levels ``[H][W]`` or of colours ``[H][W][3]``, 0..255; or the base64 text of a PNG.
        widths: one width per layer, in the order of ``Results.layers``.
        label: the true class.   prediction: the program's. Of other tasks both are what the sample contributes.
        difficulty: one of the inputs that took the fewest BitOPs (``easy``), the most (``hard``), or one ``between``.
    """

    image: str | Grey | Colour
    widths: tuple[Bits, ...]
    label: str
    prediction: str
    difficulty: Literal["easy", "hard", "between"]

    @model_validator(mode="after")
    def _image_is_one(self) -> Self:
        image = self.image
        if isinstance(image, str):
            try:
                data = base64.b64decode(image, validate=True)
            except (binascii.Error, ValueError):
                data = b""
            if not data.startswith(PNG):
                raise ValueError("image is text, but not the base64 of a PNG file")
        elif not image or not image[0] or any(len(row) != len(image[0]) for row in image):
            raise ValueError("image needs at least one row, and rows of one length")
        elif any(isinstance(pixel, list) and len(pixel) != 3 for row in image for pixel in row):
            raise ValueError("a colour image needs three values a pixel")
        return self


class Auto(Record):
    """What the controller did over the test set.

    Attributes:
        histogram: layer name -> width -> number of samples that got it.
        samples: some of the easiest and hardest inputs, and some between them.
        by_sample: the widths of samples at even ranks of their BitOPs, from the fewest to the most: of each sample one
            digit for each layer, in the order of ``Results.layers``.
    """

    histogram: dict[str, dict[Bits, Count]]
    samples: tuple[Sample, ...] = ()
    by_sample: tuple[Annotated[str, Field(pattern=r"^[1-8]+$")], ...] = ()
