"""Parameters by the patterns of a recipe: what is frozen, and the groups of an optimizer."""

import contextlib
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import product

from torch import nn

from t2igan.config import OptimizerConfig, ParameterGroup
from t2igan.errors import UserError


def alternatives(pattern: str) -> list[str]:
    """`stages.{4,8}.*` to [`stages.4.*`, `stages.8.*`], as a shell expands braces."""
    parts = re.split(r"\{([^{}]*)\}", pattern)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def matching(module: nn.Module, pattern: str) -> list[str]:
    """The names of the parameters that a pattern matches."""
    patterns = alternatives(pattern)
    return [name for name, _ in module.named_parameters() if any(fnmatchcase(name, p) for p in patterns)]


def settings(module: nn.Module, config: OptimizerConfig, where: str) -> dict[str, dict[str, float | bool]]:
    """For each parameter its factor of the rate, its weight decay and whether it is frozen.

    Raises:
        UserError: a pattern that matches nothing; `where` is the optimizer's path in the recipe.
    """
    found = {name: {"lr": 1.0, "weight_decay": config.weight_decay, "frozen": False} for name, _ in module.named_parameters()}
    for i, group in enumerate(config.groups):
        names = matching(module, group.match)
        if not names:
            example = next(iter(found), "nothing, it has no parameters")
            raise UserError(f"{where}.groups.{i} matches no parameter: {group.match!r}; a name of this network is {example}")
        for name in names:
            found[name] |= given(group)
    return found


def given(group: ParameterGroup) -> dict[str, float | bool]:
    """What a group sets."""
    values = {"lr": group.lr, "weight_decay": group.weight_decay, "frozen": group.frozen}
    return {name: value for name, value in values.items() if value is not None}


def freeze(module: nn.Module, config: OptimizerConfig, where: str) -> None:
    """Takes the gradients from the parameters that the recipe freezes; before the network is wrapped for several processes.

    Raises:
        UserError: that leaves nothing to train.
    """
    parameters = dict(module.named_parameters())
    for name, values in settings(module, config, where).items():
        if values["frozen"]:
            parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise UserError(f"{where}.groups freezes every parameter; leave something to train")


def optimizer_groups(module: nn.Module, config: OptimizerConfig, where: str) -> list[dict]:
    """Parameters that are trained, after `freeze`, in a group for each pair of rate factor and weight decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    parameters = dict(module.named_parameters())
    for name, values in settings(module, config, where).items():
        if parameters[name].requires_grad:
            groups.setdefault((values["lr"], values["weight_decay"]), []).append(parameters[name])
    return [{"params": members, "lr_factor": lr, "weight_decay": decay} for (lr, decay), members in groups.items()]


@contextlib.contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for the parameters of `module` inside; their flags as before afterwards."""
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
