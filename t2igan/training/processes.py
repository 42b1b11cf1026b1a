"""The processes of a launch: how they share gradients, and whether they begin alike."""

import warnings
from collections.abc import Iterable
from datetime import timedelta

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import DistributedType, GradientAccumulationPlugin, broadcast
from torch import Tensor, nn

from t2igan.errors import UserError

PATIENCE = timedelta(hours=2)  # of the other processes while the main one clusters, publishes or writes a checkpoint
SUPPORTED = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


def accelerator(grows: bool = False) -> Accelerator:
    """Precision, compilation and accumulation are ours, whatever a launcher's settings say.

    Of networks that grow, some parameters wait for their turn without a gradient.

    Raises:
        UserError: the launcher is set to shard the networks (FSDP, DeepSpeed), which this trainer does not do.
    """
    warnings.filterwarnings("ignore", message=".*(Grad strides|broadcast_buffers|forward_sync_buffers)")  # nothing that a user can act on
    made = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="no",
        dynamo_backend="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=grows),
            InitProcessGroupKwargs(timeout=PATIENCE),
        ],
    )
    if made.distributed_type not in SUPPORTED:
        raise UserError(f"the launcher is set to {made.distributed_type.value}; choose plain multi-GPU in `accelerate config`")
    return made


@torch.no_grad()
def share_weights(modules: Iterable[nn.Module]) -> None:
    """Gives every process the main one's tensors: machines of several kinds draw initial weights that differ in their last bits."""
    for tensor in (tensor for module in modules for tensor in module.state_dict().values()):
        tensor.copy_(broadcast(tensor.contiguous()))


def checksum(module: nn.Module) -> int:
    """A sum over the bits of all tensors, which are added as whole numbers: in any order, on any device, it is the same."""

    def bits(tensor: Tensor) -> Tensor:
        return tensor.detach().reshape(-1).view(torch.int32 if tensor.dtype == torch.float32 else torch.uint8)

    return sum(int(bits(tensor).sum(dtype=torch.int64)) for tensor in module.state_dict().values()) % 2**60


def check_agreement(accelerator: Accelerator, facts: dict[str, int]) -> None:
    """Raises UserError, on every process, where these numbers are not the same on all of them."""
    own = list(facts.values())
    for number, row in enumerate(accelerator.gather(torch.tensor([own], device=accelerator.device)).tolist()):
        other = next((name for name, mine, theirs in zip(facts, own, row, strict=True) if mine != theirs), None)
        if other:
            raise UserError(
                f"process {number} has other {other} than process {accelerator.process_index}; the run folder, start.run and data.shards "
                "must be the same on every machine"
            )
