"""The JSON Schema of scenario files, for editors: endpoints stand in it as a file has them."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from core.endpoints import CDP
from core.scenario.endpoint_tables import PRESETS, EndpointFields
from core.scenario.scenario import Scenario
from core.units import Duration

_REF = "#/$defs/{model}"


def scenario_schema() -> dict[str, Any]:
    """Return the schema; a file that it takes may still break a rule between its fields."""
    schema = Scenario.model_json_schema(mode="validation")
    of_endpoint = EndpointFields.model_json_schema(mode="validation", ref_template=_REF)
    definitions = schema["$defs"]
    definitions |= of_endpoint.pop("$defs", {})
    definitions["EndpointFields"] = of_endpoint
    for model, name in (("Traffic", "mix"), ("Topology", "cpu")):
        del definitions[model]["properties"][name]
    for name in ("Targets", "Target", "Mix", "Cpu"):
        definitions.pop(name, None)
    duration = TypeAdapter(Duration).json_schema(mode="validation")
    for tier, default in (("L2", "120us"), ("L3", "150us")):
        definitions[tier]["properties"]["cpu"] = {**duration, "default": default, "title": "Cpu"}
    del schema["properties"]["targets"]
    reference = {"$ref": _REF.format(model="EndpointFields")}
    schema["properties"]["endpoints"] = {
        "title": "Endpoints",
        "description": "The endpoints, each by its name.",
        "type": "object",
        "properties": {
            "preset": {"enum": list(PRESETS), "title": "Preset"},
            **dict.fromkeys(CDP.names, reference),
        },
        "additionalProperties": reference,
    }
    return schema
