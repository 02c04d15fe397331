"""The names of the engines of a simulation, in a module that is quick to import."""

from __future__ import annotations

from typing import Literal

EngineName = Literal["reference", "compiled", "auto"]
