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
GLOBALS: dict[str, Any] = TEMPLATE["Globals"]["Function"]
FUNCTIONS = {
    name: resource["Properties"]
    for name, resource in TEMPLATE["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
}
API = TEMPLATE["Resources"]["Api"]["Properties"]


RESOURCES = TEMPLATE["Resources"]


PATHS: dict[str, dict[str, Any]] = API["DefinitionBody"]["paths"]
