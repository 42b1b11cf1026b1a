"""Long work in pieces of fixed size, one file each: killed anywhere it goes on, shared by processes it gives the same files."""

import os
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from t2igan.errors import UserError

SIZE = 50  # pictures in a piece, and at a time through a network
LONGEST_WAIT = timedelta(hours=48)  # until a process that is done gives up waiting for the others


def distributed_state():
    """accelerate's view of the processes that share the work; one where the script was started alone.

    Convolutions on a GPU compute in float32 from here on: TF32's 10 bits would make features another network's.
    """
    from accelerate import PartialState

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)


def broadcast_from_main(compute: Callable[[], object], state) -> object:
    """What `compute` gives in the main process, in all of them: hashes and lists that cost a reading of gigabytes."""
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([compute() if state.is_main_process else None])[0]


def pieces(count: int) -> list[range]:
    """Numbers of pictures, `SIZE` by `SIZE`."""
    return [range(start, min(start + SIZE, count)) for start in range(0, count, SIZE)]


def run_in_chunks(count: int, file: Callable[[int], Path], make: Callable[[range, Path], None], state, label: str) -> int:
    """Makes every file that is not there yet, each in the process whose turn it is; returns, when all are there, how many pictures this
    process has made.

    Args:
        file: number of a piece to its file.
        make: writes the piece's file, which must appear whole.
    """
    todo = [(number, piece) for number, piece in enumerate(pieces(count)) if number % state.num_processes == state.process_index]
    missing = [(number, piece) for number, piece in todo if not file(number).is_file()]
    done = sum(len(piece) for _, piece in todo) - sum(len(piece) for _, piece in missing)
    quiet = None if state.is_main_process else True  # its own share; the others' are as long
    with tqdm(
        total=done + sum(len(piece) for _, piece in missing), initial=done, desc=label, unit="picture", delay=5, disable=quiet
    ) as bar:
        for number, piece in missing:
            file(number).parent.mkdir(parents=True, exist_ok=True)
            make(piece, file(number))
            bar.update(len(piece))
    state.wait_for_everyone()
    return sum(len(piece) for _, piece in missing)


def write_features(features: dict[str, Tensor], file: Path) -> None:
    temporary = file.with_name(f".{file.name}.{socket.gethostname()}.{os.getpid()}")  # two evaluations may share a reference
    save_file({name: value.detach().float().cpu().contiguous() for name, value in features.items()}, temporary)
    os.replace(temporary, file)


def read_features(folder: Path, layer: str, count: int) -> Iterator[Tensor]:
    """One layer of the first `count` pictures, piece by piece. Raises UserError where a file is not what it should be."""
    for number, piece in enumerate(pieces(count)):
        with safe_open(feature_file(folder, number), framework="pt") as file:
            features = file.get_tensor(layer)
        if len(features) != len(piece):
            raise UserError(f"{feature_file(folder, number)} holds {len(features)} pictures, not {len(piece)}; remove {folder}")
        yield features


def feature_file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"
