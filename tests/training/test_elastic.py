"""A run that is resumed with other numbers of processes goes on as one that was never stopped."""

import pytest
from processes import close, launch, layer_scale, names
from tiny import override, tiny_recipe

pytest_plugins = ["kit"]
BATCH, STEPS = 12, 2  # STEPS: of each leg
LEGS = (2, 1, 3)  # processes
RATE = {"lr": 0.01}


@pytest.fixture(scope="module")
def recorded(kit, tmp_path_factory):
    """(a run of one process, the three legs of a run that is stopped and resumed), as every process recorded them."""
    recipe = override(
        tiny_recipe(kit),
        training__batch=BATCH,
        training__total_images=BATCH * STEPS * len(LEGS),
        training__micro_batch=2,  # minibatch statistics and mismatched captions stay inside a part, which all numbers of processes have
        training__generator_optimizer=RATE,
        training__discriminator_optimizer=RATE,
    )
    folder = tmp_path_factory.mktemp("elastic")
    (whole,) = launch({"whole": {"recipe": recipe, "sgd": True, "steps": STEPS * len(LEGS)}}, 1, folder)
    legs = []
    for number, world in enumerate(LEGS):
        case = {"recipe": recipe, "sgd": True, "steps": STEPS, "folder": str(folder / "legs"), "resume": number > 0}
        legs.append([found["leg"] for found in launch({"leg": case}, world, folder)])
    return whole["whole"], legs


@pytest.mark.slow
def test_every_leg_had_its_number_of_processes_and_its_images(recorded):
    _, legs = recorded
    for number, (world, leg) in enumerate(zip(LEGS, legs, strict=True), 1):
        assert [int(found["world"]) for found in leg] == [world] * world
        assert {int(found["images"]) for found in leg} == {BATCH * STEPS * number}


@pytest.mark.slow
@pytest.mark.parametrize("step", range(STEPS * len(LEGS)))
def test_every_step_has_the_gradients_of_the_uninterrupted_run(step, recorded):
    whole, legs = recorded
    for half in ("D", "G"):
        found = names(whole, f"gradient/{step}/{half}/")
        assert len(found) > 20
        for leg in legs[step // STEPS]:
            for name in found:
                assert close(whole[name], leg[name], layer_scale(whole, name)), name


@pytest.mark.slow
def test_the_last_weights_are_those_of_the_uninterrupted_run(recorded):
    whole, legs = recorded
    found = names(whole, "weight/")
    assert {name.split("/")[1] for name in found} == {"G", "D", "ema"}
    for leg in legs[-1]:
        for name in found:
            assert close(whole[name], leg[name]), name
