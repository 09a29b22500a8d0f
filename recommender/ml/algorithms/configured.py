"""An algorithm with parameters of its own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Self

from recommender.ml.contract import Algorithm, Inputs


@dataclass(frozen=True)
class Configured:
    """An algorithm and parameters of its constructor. Where algorithms are fitted it stands for a class: called, it
    makes an instance that is not fitted yet.

    Attributes:
        algorithm: its class.
        parameters: those that are not left at their defaults.
    """

    algorithm: type[Algorithm]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, algorithm: type[Algorithm], parameters: Mapping[str, Any]) -> Self:
        """With parameters that may be the defaults or have been through JSON, always written the same way.

        Those that the constructor does not have are left out: a later version of the code may have dropped them.
        """
        defaults = {name: each.default for name, each in signature(algorithm).parameters.items()}
        chosen = {
            name: json.loads(json.dumps(parameters[name]))
            for name in sorted(parameters.keys() & defaults.keys())
            if json.dumps(parameters[name]) != json.dumps(defaults[name])
        }
        return cls(algorithm, chosen)

    @property
    def name(self) -> str:
        """The algorithm's name, followed by the parameters if there are any: ``decision_tree(max_depth=4)``."""
        chosen = ", ".join(f"{name}={json.dumps(value)}" for name, value in self.parameters.items())
        return f"{self.algorithm.name}({chosen})" if chosen else self.algorithm.name

    @property
    def inputs(self) -> Inputs:
        return self.algorithm.inputs

    def __call__(self) -> Algorithm:
        return self.algorithm(**self.parameters)


#: What is fitted and compared: an algorithm as it comes, or with parameters of its own.
Candidate = type[Algorithm] | Configured
