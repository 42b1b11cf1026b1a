"""What a run's metrics.jsonl tells, and its snapshots."""

from pathlib import Path

from t2igan.errors import UserError
from t2igan.plain_text import parse_json

SNAPSHOTS = "snapshots"  # the folder, within a run's, of the models of earlier moments


def read_log(run: Path) -> list[dict]:
    """The records of a run folder, without a line that was cut off when the run was killed. Raises UserError where there is none."""
    log = run / "metrics.jsonl"
    if not log.is_file():
        raise UserError(f"{run} has no metrics.jsonl: give the run folder, not its model folder")
    records = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            records.append(parse_json(line))
        except ValueError:
            continue
    if not records:
        raise UserError(f"{run} has logged no step yet; let its training finish")
    return records


def minutes(records: list[dict]) -> float:
    """Of training: `seconds` starts at 0 again where a run was resumed, so the ends of the stretches add up."""
    ends = [a["seconds"] for a, b in zip(records, records[1:], strict=False) if b["seconds"] < a["seconds"]] + [records[-1]["seconds"]]
    return sum(ends) / 60


def training_facts(run: Path) -> dict:
    """Images seen and minutes of training. Raises UserError where `read_log` does."""
    records = read_log(run)
    return {"images_seen": records[-1]["images"], "minutes": round(minutes(records), 2)}


def snapshots(run: Path) -> dict[int, Path]:
    """Images seen to model folder, fewest first. Raises UserError where the run has none."""
    found = {int(folder.name): folder for folder in sorted((run / SNAPSHOTS).glob("[0-9]*"))}
    if not found:
        raise UserError(f"{run} has no {SNAPSHOTS}; train it with training.snapshot_every=IMAGES")
    return found
