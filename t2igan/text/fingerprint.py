"""A network's weights to a hash that names them, without reading every value."""

import hashlib

from torch import nn

VALUES_PER_TENSOR = 4096  # at least: enough to tell two trained networks apart, and little to read


def weights_fingerprint(header: str, network: nn.Module) -> str:
    """SHA-256 of `header`, then of each tensor's name and evenly spaced values as float32.

    Disk caches are named by it. `header` states what the weights do not show, such as activations and preprocessing.
    """
    digest = hashlib.sha256(header.encode())
    for name, weight in network.state_dict().items():
        values = weight.flatten()[:: max(1, weight.numel() // VALUES_PER_TENSOR)]
        digest.update(name.encode())
        digest.update(values.float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
