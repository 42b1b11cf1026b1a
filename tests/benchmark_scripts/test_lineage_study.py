"""benchmarks/lineage.py: the lineage side by side."""

import numpy as np
import pytest
from PIL import Image
from tiny import ROOT


@pytest.fixture
def lineage(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import lineage

    return lineage


def test_a_chain_of_recipes_shares_the_images_in_whole_steps(lineage):
    from t2igan.recipe import load_recipe

    for names in lineage.SYSTEMS.values():
        recipes = [load_recipe(ROOT / f"configs/{name}.yaml") for name in names]
        counts = lineage.lengths(recipes, 100_000)
        assert abs(sum(counts) - 100_000) < 24 * len(counts) and all(count % 24 == 0 for count in counts)
        assert [recipe.start is not None for recipe in recipes] == [number > 0 for number in range(len(recipes))]
        assert recipes[-1].resolution == 32
    assert lineage.FLOW not in lineage.SYSTEMS


def test_the_table_has_a_row_for_each_study_of_a_system(lineage):
    row = {"images": 120_000, "minutes": 31.25, "images_per_second": 64.0, "drawn_per_second": 500.4, "parameters": 2_345_678}
    row |= {"frechet": 0.1234, "r_at_1": 0.9, "r_at_5": 1.0, "compositions": 0.5, "diversity": 0.25, "coverage": 0.75}
    lines = lineage.table({("a", "r3gan"): row, ("b", "flow_matching_4"): row}).splitlines()
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert lines[2] == "| r3gan | a | 120,000 | 31.2 | 64.0 | 500 | 2.35M | 0.123 | 0.900 | 1.000 | 0.500 | 0.250 | 0.75 |"


def test_speeds_are_those_of_one_machine_whatever_trained(lineage):
    pace = {"machine": "CPU", "images_per_second": 50.0, "drawn_per_second": 400.0, "parameters": 7}
    row = {"images": 60_000, "minutes": 99.0, "frechet": 0.1}
    found = lineage.at_pace(row, pace)
    assert (found["minutes"], found["images_per_second"], found["drawn_per_second"], found["parameters"]) == (20.0, 50.0, 400.0, 7)
    found = lineage.at_pace(row | {"minutes": 10.0}, {"drawn_per_second": 30.0, "parameters": 8})
    assert (found["minutes"], found["images_per_second"]) == (pytest.approx(10.0), 100.0), "the U-Net has its own clock"
    assert lineage.at_pace(row, None) is None


def test_rows_stand_below_each_other_after_their_names(lineage, tmp_path):
    for shade, name in ((40, "progan"), (90, "aurora")):
        Image.new("RGB", (50, 20), (shade,) * 3).save(tmp_path / f"{name}.png")
    picture = np.asarray(lineage.side_by_side({name: tmp_path / f"{name}.png" for name in ("progan", "aurora")}))
    assert picture.shape == (40, lineage.NAME_WIDTH + 50, 3)
    assert (picture[:20, -50:] == 40).all() and (picture[20:, -50:] == 90).all()
    assert all((half[:, : lineage.NAME_WIDTH] < 128).any() for half in (picture[:20], picture[20:])), "a name beside each"
