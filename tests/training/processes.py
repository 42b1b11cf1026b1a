"""A few steps in each of several processes, with every gradient and weight written down.

    torchrun --nproc_per_node 2 processes.py CASES.json OUT

CASES.json: {name: {"recipe": {...}, "steps": n, "sgd": bool}}. Process r writes OUT/NAME.R.safetensors.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny import trainer_of


def run(case: dict, out: Path) -> dict[str, torch.Tensor]:
    """{"gradient/STEP/HALF/NAME" and "weight/HALF/NAME": tensor} of a case.

    `sgd` takes plain gradient descent in Adam's place: Adam divides a gradient by its own size, so that a weight whose gradient is
    rounding noise moves as far as any other, and two correct runs part.
    """
    trainer, found = trainer_of(case["recipe"], out), {}
    if case["sgd"]:
        trainer.g_optimizer, trainer.d_optimizer = plain_descent(trainer.g_optimizer), plain_descent(trainer.d_optimizer)
    update = trainer._update

    def recorded(optimizer, module, config, now, report, half):
        found.update({f"gradient/{now.step}/{half}/{name}": p.grad.clone() for name, p in module.named_parameters()})
        update(optimizer, module, config, now, report, half)

    trainer._update = recorded
    for step in range(case["steps"]):
        trainer.step(trainer.dataset[step])
    for half, module in (("G", trainer.generator), ("D", trainer.discriminator), ("ema", trainer.ema.model)):
        found |= {f"weight/{half}/{name}": p.detach().clone() for name, p in module.named_parameters()}
    found["world"] = torch.tensor(trainer.accelerator.num_processes)
    return found


def plain_descent(adam: torch.optim.Optimizer) -> torch.optim.SGD:
    """The same parameters in the same groups."""
    return torch.optim.SGD([{"params": group["params"], "rate": group["rate"]} for group in adam.param_groups], lr=1.0)


def main() -> None:
    torch.set_num_threads(1)
    cases, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    for name, case in cases.items():
        found = run(case, out / "run")
        rank = torch.distributed.get_rank()
        save_file({key: value.contiguous() for key, value in found.items()}, out / f"{name}.{rank}.safetensors")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
