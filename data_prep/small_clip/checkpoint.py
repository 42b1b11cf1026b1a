"""What an interrupted training needs to go on from its last save as if nothing had happened."""

import sys
import time
from pathlib import Path

import torch
from torch import nn

from small_clip.batches import BatchSampler
from t2igan.errors import UserError
from t2igan.files import atomic_file

SAVE_EVERY = 120.0  # seconds


class Checkpoint:
    """One file with weights, moments, losses and the state of every random generator.

    Args:
        file: where it is, or will be.
        training: what decides the training; the file of another one is not taken.

    Raises:
        UserError: the file cannot be opened.
    """

    def __init__(self, file: Path, training: dict):
        self.file, self.training = file, training
        self.began = self.saved = time.monotonic()
        self.state = self._read()
        self.seconds_before = self.state["seconds"] if self.state else 0.0

    def _read(self) -> dict | None:
        try:
            state = torch.load(self.file, weights_only=True)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"cannot read {self.file} ({error.strerror}); remove it to begin anew") from None
        except Exception:  # torch raises many kinds for a broken file
            state = {}
        found = state.get("training") if isinstance(state, dict) else None
        if found == self.training:
            print(f"continues at step {len(state['losses'])}, from {self.file}", file=sys.stderr)
            return state
        differs = [key for key in self.training if found and found.get(key) != self.training[key]]
        why = f"is of another training ({', '.join(differs)})" if differs else "is broken"
        print(f"begins anew: {self.file} {why}", file=sys.stderr)
        return None

    def seconds(self) -> float:
        """Seconds of training, with those before the interruption."""
        return self.seconds_before + time.monotonic() - self.began

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: BatchSampler) -> list[float]:
        """Sets everything to where the training was; returns the losses of its steps, none where it begins."""
        self.began = self.saved = time.monotonic()
        if self.state is None:
            return []
        model.load_state_dict(self.state["model"])
        optimizer.load_state_dict(self.state["optimizer"])
        sampler.generator.set_state(self.state["sampler"])
        sampler.queue = self.state["queue"]
        torch.set_rng_state(self.state["random"])
        return self.state["losses"]

    def save_if_due(self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: BatchSampler, losses: list[float]) -> None:
        """Saves after a step if two minutes have passed since the last time; a disk that refuses costs a warning."""
        if time.monotonic() - self.saved < SAVE_EVERY:
            return
        state = {"training": self.training, "seconds": self.seconds(), "losses": losses, "queue": sampler.queue}
        state |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        state |= {"sampler": sampler.generator.get_state(), "random": torch.get_rng_state()}
        try:
            with atomic_file(self.file) as temporary:
                torch.save(state, temporary)
        except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
            print(f"cannot save {self.file} ({str(error).splitlines()[0]}); the training goes on without it", file=sys.stderr)
        self.saved = time.monotonic()

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)
