"""``template.yaml``, parsed: CloudFormation's short functions become objects, as ``{"Ref": …}``."""

from __future__ import annotations

from typing import Any

import yaml

from .documentation import ROOT


class Loader(yaml.SafeLoader):
    """Reads a short function such as ``!Ref`` as ``{"Ref": …}``."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {suffix: loader.construct_mapping(node, deep=True)}


Loader.add_multi_constructor("!", _function)

TEMPLATE: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), Loader=Loader)
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
GLOBALS: dict[str, Any] = TEMPLATE["Globals"]["Function"]
FUNCTIONS = {
    name: resource["Properties"]
    for name, resource in RESOURCES.items()
    if resource["Type"] == "AWS::Serverless::Function"
}
API: dict[str, Any] = RESOURCES["Api"]["Properties"]
DEFAULTS: dict[str, Any] = {name: parameter["Default"] for name, parameter in TEMPLATE["Parameters"].items()}
PATHS: dict[str, dict[str, Any]] = API["DefinitionBody"]["paths"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of all resources of a type, by their ids."""
    return {name: resource["Properties"] for name, resource in RESOURCES.items() if resource["Type"] == kind}


def evaluate(condition: dict[str, Any], parameters: dict[str, Any]) -> Any:
    """Return the value of a condition, or of an assertion of a rule, for these parameters.

    CloudFormation compares texts only (AWS: "Condition functions").
    """
    ((function, argument),) = condition.items()
    match function:
        case "Ref":
            return str(parameters[argument])
        case "Condition":
            return evaluate(TEMPLATE["Conditions"][argument], parameters)
        case "Equals":
            left, right = (
                evaluate(operand, parameters) if isinstance(operand, dict) else str(operand) for operand in argument
            )
            return left == right
        case "Not":
            return not evaluate(argument[0], parameters)
        case "Or":
            return any(evaluate(operand, parameters) for operand in argument)
        case "And":
            return all(evaluate(operand, parameters) for operand in argument)
        case _:
            raise NotImplementedError(function)
