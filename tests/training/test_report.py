"""What a run reports: metrics.jsonl, TensorBoard, grids, progress."""

import json

import pytest
import torch
from PIL import Image

from t2igan.errors import UserError
from t2igan.training.report import Report


@pytest.fixture
def report(tmp_path):
    made = []

    def make(images=0, main=True):
        made.append(Report(tmp_path, total=100, images=images, main=main, losses=("D/nonsaturating", "G/nonsaturating")))
        return made[-1]

    yield make
    for one in made:
        one.close()


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_values_are_means_since_the_last_line(report):
    one = report()
    for d, g in ((1.0, 5.0), (3.0, None)):
        one.add({"D": torch.tensor(d)} | ({} if g is None else {"G": torch.tensor(g)}))
    assert one.take() == {"D": 2.0, "G": 5.0}, "a lazy term is averaged over the steps that had it"
    one.add({"D": torch.tensor(7.0)})
    assert one.take() == {"D": 7.0} and one.take() == {}


def test_a_line_holds_clock_speed_values_and_rates(report, tmp_path):
    report().write(32, {"D/r1": 0.5}, {"G/lr": 0.1})
    (line,) = lines(tmp_path)
    assert line["images"] == 32 and line["D/r1"] == 0.5 and line["G/lr"] == 0.1
    assert line["images_per_second"] > 0 and line["data_wait_share"] >= 0 and line["seconds"] >= 0


def test_speed_is_of_the_images_since_the_last_line(report, tmp_path, monkeypatch):
    seconds = iter([10.0, 12.0, 16.0])
    monkeypatch.setattr("t2igan.training.report.time.perf_counter", lambda: next(seconds))
    one = report(images=40)
    one.waited(0.5)
    one.write(60, {}, {})
    one.write(100, {}, {})
    first, second = lines(tmp_path)
    assert first["images_per_second"] == 10 and first["data_wait_share"] == 0.25 and first["seconds"] == 2
    assert second["images_per_second"] == 10 and second["data_wait_share"] == 0 and second["seconds"] == 6


def test_a_resumed_run_writes_each_step_once(report, tmp_path):
    """Lines after the checkpoint are dropped, and so is the line that the kill cut off."""
    one = report()
    for images in (8, 16, 24, 32):
        one.write(images, {"D": float(images)}, {})
    one.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"images": 40, "D"')
    again = report(images=16)
    again.write(24, {"D": -1.0}, {})
    assert [(line["images"], line["D"]) for line in lines(tmp_path)] == [(8, 8.0), (16, 16.0), (24, -1.0)]


@pytest.mark.parametrize("harm", [b"\0\xff\xfe\n", b"[8]\n", b'{"step": 8}\n', b"\n"])
def test_a_damaged_log_is_one_clear_error(harm, report, tmp_path):
    report().write(8, {}, {})
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(harm)
    with pytest.raises(UserError, match=r"metrics.jsonl is damaged in line 2; delete it"):
        report(images=16)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_null(value, report, tmp_path):
    report().write(8, {"D/r1": value}, {})
    assert '"D/r1": null' in (tmp_path / "metrics.jsonl").read_text() and lines(tmp_path)[0]["D/r1"] is None


def test_only_the_main_process_writes(report, tmp_path):
    other = report(main=False)
    other.add({"D": torch.tensor(1.0)})
    other.write(8, other.take(), {})
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_progress_is_plain_text_when_not_on_a_terminal(report, capsys):
    one = report()
    one.write(50, {"D/nonsaturating": 1.25}, {})
    one.write(60, {"D/nonsaturating": 1.0}, {})
    one.write(100, {"D/nonsaturating": 1.0}, {})
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("50/100 images") and "images/s" in first and "left" in first and "D/nonsaturating 1.250" in first
    assert last.startswith("100/100 images") and "0:00 left" in last, "lines are rare, but the last one is always there"
    assert "\r" not in first + last and "\033" not in first + last


def test_progress_overwrites_itself_on_a_terminal(report, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    one = report()
    one.write(50, {}, {})
    one.write(60, {}, {})
    assert capsys.readouterr().err.count("\r\033[K") == 2


@pytest.mark.parametrize(("seconds", "text"), [(31, "0:31"), (61, "1:01"), (3599, "59:59"), (3661, "1:01:01")])
def test_time_left_reads_as_a_clock(seconds, text, report, capsys, monkeypatch):
    ticks = iter([0.0, float(seconds)])
    monkeypatch.setattr("t2igan.training.report.time.perf_counter", lambda: next(ticks))
    report().write(50, {}, {})  # half is done, so as much is left
    assert f"{text} left" in capsys.readouterr().err


def test_grid_and_tensorboard_are_written(report, tmp_path):
    one = report()
    image = Image.new("RGB", (16, 16), (255, 0, 0))
    one.grid(24, [[image] * 3, [image] * 3], ["thing 1", "thing 2"])
    one.write(24, {"D": 1.0}, {})
    one.close()
    grid = Image.open(tmp_path / "samples" / "000000000024.png").convert("RGB")
    red = sum(count for count, colour in grid.getcolors(1 << 20) if colour == (255, 0, 0))
    assert red == 6 * 64 * 64, "six images, four times as large"
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert events.stat().st_size > 1000
