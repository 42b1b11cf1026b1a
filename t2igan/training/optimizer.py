"""Adam with everything that a paper schedules, and a check of every gradient."""

import torch
from torch import Tensor, nn

from t2igan.config import OptimizerConfig
from t2igan.training.parameters import optimizer_groups
from t2igan.types import TrainingTime


class ScheduledAdam:
    """AdamW (Adam without weight decay) over a network's groups of parameters; rate and betas follow the clock.

    Args:
        where: the optimizer's path in the recipe, for errors.
    """

    def __init__(self, module: nn.Module, config: OptimizerConfig, where: str):
        self.module, self.config = module, config
        betas = tuple(beta(0) for beta in config.betas)
        self.adam = torch.optim.AdamW(optimizer_groups(module, config, where), lr=config.lr(0), betas=betas, eps=1e-8, fused=True)
        self.skipped = 0  # steps whose gradients were not finite
        self.skipped_in_a_row = 0

    def step(self, now: TrainingTime) -> Tensor:
        """One update, unless a gradient is not finite: then the step is skipped and counted. Returns the norm of the gradient."""
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if torch.isfinite(norm):
            self.set_rates(now)
            self.adam.step()
            self.skipped_in_a_row = 0
        else:
            self.skipped += 1
            self.skipped_in_a_row += 1
        self.adam.zero_grad(set_to_none=True)
        return norm

    def reset_moments(self) -> None:
        """Begins anew, as ProGAN does when layers join (Karras et al. 2018, appendix A)."""
        self.adam.state.clear()

    def set_rates(self, now: TrainingTime) -> None:
        warmup = min(1.0, (now.images + now.batch) / self.config.warmup) if self.config.warmup else 1.0
        for group in self.adam.param_groups:
            group["lr"] = self.config.lr(now.images) * warmup * group["lr_factor"]
            group["betas"] = tuple(beta(now.images) for beta in self.config.betas)

    @property
    def lr(self) -> float:
        """The rate of the last update, without the groups' factors."""
        group = self.adam.param_groups[0]
        return group["lr"] / group["lr_factor"] if group["lr_factor"] else 0.0

    def state(self) -> dict[str, Tensor]:
        """Adam's moments under the names of the parameters they belong to."""
        names = {parameter: name for name, parameter in self.module.named_parameters()}
        return {
            f"{names[parameter]}/{key}": value.detach() if torch.is_tensor(value) else torch.tensor(value)
            for parameter, state in self.adam.state.items()
            for key, value in state.items()
        }

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Raises KeyError where a moment belongs to no parameter."""
        parameters = dict(self.module.named_parameters())
        for name, value in tensors.items():
            parameter, _, key = name.rpartition("/")
            target = parameters[parameter]
            if key == "step":  # a fused step counts on the parameter's device
                self.adam.state[target][key] = value.to(target.device, torch.float32)
            else:  # moments keep their parameter's memory layout, on which the speed of the fused step depends
                self.adam.state[target][key] = torch.empty_like(target).copy_(value)
