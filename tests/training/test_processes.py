"""The processes of a launch."""

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from t2igan.errors import UserError
from t2igan.training.processes import accelerator, check_agreement, checksum


def test_a_launcher_that_compiles_changes_no_network(monkeypatch):
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})  # which the first Accelerator of a process fills
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    module = nn.Linear(2, 2)
    made = accelerator()
    prepared = made.prepare_model(module)
    assert prepared is module and made.unwrap_model(prepared) is module and prepared(torch.ones(1, 2)).dtype == torch.float32


def test_a_launcher_that_shards_networks_is_refused(monkeypatch):
    monkeypatch.setattr("t2igan.training.processes.SUPPORTED", ())
    with pytest.raises(UserError, match=r"the launcher is set to NO; choose plain multi-GPU in `accelerate config`"):
        accelerator()


def test_a_checksum_sees_every_bit_and_no_order():
    module, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(module.state_dict())
    assert checksum(module) == checksum(other)
    with torch.no_grad():
        other.weight[1, 2] = torch.nextafter(other.weight[1, 2], torch.tensor(9.0))
    assert checksum(module) != checksum(other)


def test_processes_that_begin_otherwise_are_named(monkeypatch):
    made = accelerator()

    def with_rows(*rows):
        monkeypatch.setattr(made, "gather", lambda own: torch.cat([own, torch.tensor(rows, device=own.device)]))
        return made

    facts = {"images seen": 5, "weights": 7}
    check_agreement(with_rows([5, 7], [5, 7]), facts)
    with pytest.raises(UserError, match="process 2 has other weights than process 0; the run folder"):
        check_agreement(with_rows([5, 7], [5, 8]), facts)
    with pytest.raises(UserError, match="process 1 has other images seen than process 0"):
        check_agreement(with_rows([4, 8], [5, 7]), facts)
