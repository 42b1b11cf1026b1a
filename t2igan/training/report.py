"""What a run reports while it trains: metrics.jsonl, TensorBoard, sample grids and a line of progress."""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from t2igan.data.images import save_image
from t2igan.errors import UserError
from t2igan.files import write_text
from t2igan.grids import grid
from t2igan.plain_text import parse_json

LINE_EVERY = 30.0  # seconds between lines when not on a terminal


class Report:
    """Collects values between log steps; only the main process writes.

    Args:
        total: images at the end of the run.
        images: images seen so far.
        losses: names of the losses that the line of progress shows.
    """

    def __init__(self, out: Path, total: int, images: int, main: bool, losses: tuple[str, ...] = ()):
        self.out, self.total, self.main, self.losses = out, total, main, losses
        self.start_images, self.start, self.last_line = images, time.perf_counter(), 0.0
        self.sums: dict[str, torch.Tensor] = {}
        self.counts: dict[str, int] = {}
        self.data_wait = 0.0
        self.last = (images, self.start)
        if main:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(out / "tensorboard"), purge_step=images)
            self.metrics = _reopen(out / "metrics.jsonl", images)

    def waited(self, seconds: float) -> None:
        self.data_wait += seconds

    def add(self, values: dict[str, torch.Tensor]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """Means since the last call."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def write(self, images: int, values: dict[str, float], rates: dict[str, float]) -> None:
        if not self.main:
            return
        now, (before, then) = time.perf_counter(), self.last
        speed = (images - before) / max(now - then, 1e-9)
        record = {"images": images, "seconds": round(now - self.start, 2), "images_per_second": round(speed, 2)}
        record |= {"data_wait_share": round(self.data_wait / max(now - then, 1e-9), 4)} | values | rates
        self.data_wait, self.last = 0.0, (images, now)
        self.metrics.write(strict_json(record) + "\n")
        self.metrics.flush()
        for name, value in record.items():
            self.board.add_scalar(name, value, images)
        self._line(images, now, values)

    def _line(self, images: int, now: float, values: dict[str, float]) -> None:
        terminal = sys.stderr.isatty()
        if not terminal and now - self.last_line < LINE_EVERY and images < self.total:
            return
        self.last_line = now
        mean = (images - self.start_images) / max(now - self.start, 1e-9)
        left = (self.total - images) / max(mean, 1e-9)
        losses = "  ".join(f"{name} {values[name]:.3f}" for name in self.losses if name in values)
        line = f"{images}/{self.total} images  {mean:.1f} images/s  {_clock(left)} left  {losses}"
        print(f"\r\033[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    def grid(self, images: int, rows: list[list[Image.Image]], captions: list[str]) -> None:
        """A row of images under each caption, as `samples/IMAGES.png` and in TensorBoard."""
        folder = self.out / "samples"
        folder.mkdir(exist_ok=True)
        sheet = grid(rows, captions)
        save_image(sheet, folder / f"{images:012d}.png")
        self.board.add_image("samples", np.asarray(sheet), images, dataformats="HWC")

    def close(self) -> None:
        if self.main:
            if sys.stderr.isatty():
                print(file=sys.stderr)
            self.metrics.close()
            self.board.close()


def strict_json(record: dict[str, int | float]) -> str:
    """JSON has no NaN and no infinity: such values are null."""
    return json.dumps({name: value if math.isfinite(value) else None for name, value in record.items()}, allow_nan=False)


def _reopen(path: Path, images: int):
    """metrics.jsonl without the lines a resumed run will write again.

    Raises:
        UserError: the file is damaged.
    """
    if path.is_file():
        *lines, _ = path.read_bytes().split(b"\n")  # the last is empty, or what a killed run was writing
        kept = []
        for number, line in enumerate(lines, 1):
            try:
                if parse_json(line)["images"] <= images:
                    kept.append(line.decode() + "\n")
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path} is damaged in line {number}; delete it to resume without the earlier values") from None
        write_text(path, "".join(kept))
    return open(path, "a", encoding="utf-8")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
