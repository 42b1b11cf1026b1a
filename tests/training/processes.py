"""A few steps in each of several processes, with every gradient and weight written down.

    torchrun --nproc_per_node 2 processes.py CASES.json OUT

CASES.json: {name: {"recipe": {...}, "steps": n, "sgd": bool, "folder": path or null, "resume": bool}}. Process r writes
OUT/NAME.R.safetensors. In a `folder` the steps begin a run or resume it, and end with a checkpoint.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tiny import ROOT, environment, on_cpu, record_gradients, run_of, take_steps


def run(case: dict, out: Path) -> dict[str, torch.Tensor]:
    """{"gradient/STEP/HALF/NAME" and "weight/HALF/NAME": tensor} of a case.

    `sgd` takes plain gradient descent in Adam's place: Adam divides a gradient by its own size, so that a weight whose gradient is
    rounding noise moves as far as any other, and two correct runs part.
    """
    folder = case.get("folder")
    one = run_of(case["recipe"], Path(folder or out))
    trainer = one.trainer
    if case["sgd"]:
        for optimizer in (trainer.g_optimizer, trainer.d_optimizer):
            optimizer.adam = plain_descent(optimizer.adam)
    if folder:
        one.open(case["resume"])
    else:
        one.begin()
    first, gradients = trainer.steps, record_gradients(trainer)
    take_steps(one, case["steps"])
    found = {"world": torch.tensor(trainer.accelerator.num_processes), "images": torch.tensor(trainer.images)}
    for half, steps in gradients.items():
        for step, of_step in enumerate(steps, first):
            found |= {f"gradient/{step}/{half}/{name}": g for name, g in of_step.items() if g is not None}
    for half, module in (("G", trainer.generator), ("D", trainer.discriminator), ("ema", trainer.ema.model)):
        found |= {f"weight/{half}/{name}": p.detach().clone() for name, p in module.named_parameters()}
    if folder:
        one.save()
    return found


def plain_descent(adam: torch.optim.Optimizer) -> torch.optim.SGD:
    """The same parameters in the same groups."""
    return torch.optim.SGD([{"params": group["params"], "lr_factor": group["lr_factor"]} for group in adam.param_groups], lr=1.0)


def launch(cases: dict, world: int, folder: Path) -> list[dict[str, dict[str, torch.Tensor]]]:
    """What each of `world` processes finds, by case; one process is this one."""
    if world == 1:
        with on_cpu():
            return [{name: run(case, folder / "single") for name, case in cases.items()}]
    (folder / "cases.json").write_text(json.dumps(cases))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(world)]
    script = [str(Path(__file__)), str(folder / "cases.json"), str(folder)]
    done = subprocess.run(torchrun + script, env=environment(folder / "cache"), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return [{name: load_file(folder / f"{name}.{rank}.safetensors") for name in cases} for rank in range(world)]


def close(one: torch.Tensor, two: torch.Tensor, scale: float | None = None) -> bool:
    """Relative 1e-4, with an absolute floor for entries that are sums of cancelling terms: 1e-5 of the tensor's largest, or of `scale`."""
    return torch.allclose(two, one, rtol=1e-4, atol=1e-5 * (float(one.abs().max()) if scale is None else scale))


def layer_scale(found: dict[str, torch.Tensor], name: str) -> float:
    """The largest entry of a layer's tensors together: every entry of a bias's gradient may be such a sum, and then says nothing itself."""
    return max(float(found[other].abs().max()) for other in names(found, name.rpartition(".")[0] + "."))


def names(found: dict, prefix: str) -> list[str]:
    return [name for name in found if name.startswith(prefix)]


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
