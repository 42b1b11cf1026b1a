"""Every random number of training as a function of (seed, step, purpose), so that a checkpoint needs no random state.

Numbers are drawn for the whole batch on the CPU and each process takes its own rows: the same run on any number of processes.
"""

import torch

from t2igan.data.order import hashed

PURPOSES = ("latents", "real view", "fake view in D's half", "fake view in G's half", "noise level", "noise", "nudge")


def generator(seed: int, step: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose of one step."""
    return torch.Generator().manual_seed(int(hashed(seed, step, PURPOSES.index(purpose)) >> 1))
