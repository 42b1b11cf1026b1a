"""Long work in chunks of fixed size, one file per chunk: an interrupted run resumes, and several processes share the chunks."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from t2igan.errors import UserError
from t2igan.files import atomic_file

CHUNK_SIZE = 50  # images in a chunk, and in a batch of a feature network
LONGEST_WAIT = timedelta(hours=48)  # how long a process that has finished waits for the others before it gives up

T = TypeVar("T")


@runtime_checkable
class DistributedState(Protocol):
    """The part of accelerate's PartialState that evaluation reads."""

    device: torch.device
    num_processes: int
    process_index: int
    is_main_process: bool

    def wait_for_everyone(self) -> None: ...


def distributed_state() -> PartialState:
    """The processes that share the work, as accelerate launched them; a script that was started alone is one process.

    Convolutions on a GPU compute in float32 from here on: the 10 bits of TF32 would change the features.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)


def broadcast_from_main(compute: Callable[[], T], state: DistributedState) -> T:
    """Runs `compute` in the main process and returns its result in all of them: for hashes and lists that need a pass over gigabytes."""
    return broadcast_object_list([compute() if state.is_main_process else None])[0]


def chunk_ranges(count: int) -> list[range]:
    """The numbers 0 to `count` - 1 in ranges of `CHUNK_SIZE`; the last range may be shorter."""
    return [range(start, min(start + CHUNK_SIZE, count)) for start in range(0, count, CHUNK_SIZE)]


def run_in_chunks(
    count: int, file: Callable[[int], Path], make: Callable[[range, Path], object], state: DistributedState, label: str
) -> int:
    """Makes every chunk file that does not exist yet, each in one of the processes, and waits until all exist.

    Args:
        file: number of a chunk to its file.
        make: writes the file of a chunk, atomically.
        label: name of the work on the progress bar.

    Returns:
        How many images this process has made.
    """
    mine = [(number, chunk) for number, chunk in enumerate(chunk_ranges(count)) if number % state.num_processes == state.process_index]
    missing = [(number, chunk) for number, chunk in mine if not file(number).is_file()]
    total, made = (sum(len(chunk) for _, chunk in part) for part in (mine, missing))
    quiet = None if state.is_main_process else True  # the bar shows the chunks of the main process; the others have as many
    with tqdm(total=total, initial=total - made, desc=label, unit="image", delay=5, disable=quiet) as bar:
        for number, chunk in missing:
            file(number).parent.mkdir(parents=True, exist_ok=True)
            make(chunk, file(number))
            bar.update(len(chunk))
    state.wait_for_everyone()
    return made


def write_features(features: dict[str, Tensor], file: Path) -> None:
    """Features by layer to one file, atomically."""
    with atomic_file(file) as temporary:  # two evaluations may share a reference
        save_file({name: value.detach().float().cpu().contiguous() for name, value in features.items()}, temporary)


def read_features(folder: Path, layer: str, count: int) -> Iterator[Tensor]:
    """One layer of the first `count` images, chunk by chunk. Raises UserError where a file has the wrong number of images."""
    for number, chunk in enumerate(chunk_ranges(count)):
        with safe_open(feature_file(folder, number), framework="pt") as file:
            features = file.get_tensor(layer)
        if len(features) != len(chunk):
            raise UserError(f"{feature_file(folder, number)} holds {len(features)} images, not {len(chunk)}; remove {folder}")
        yield features


def feature_file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"
