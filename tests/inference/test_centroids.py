"""Truncation to the nearest mode of a model's styles."""

import sys

import pytest
import torch

from t2igan.cli import main
from t2igan.errors import UserError
from t2igan.evaluation.centroids import lloyd, save_centroids, style_centroids
from t2igan.inference.pipeline import Pipeline

pytest_plugins = ["kit"]


@pytest.fixture
def pipeline(folder):
    return Pipeline.load(folder, "cpu")


def test_centroids_are_the_means_of_their_points():
    modes = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = torch.cat([mode + 0.1 * torch.randn(50, 2) for mode in modes])
    found = lloyd(points[torch.randperm(150)], 12)
    nearest = torch.cdist(points, found).argmin(1)
    for number in nearest.unique():
        assert torch.allclose(found[number], points[nearest == number].mean(0), atol=1e-4)
    assert torch.cdist(modes, found).amin(1).max() < 0.2, "every mode has one"


def test_styles_are_those_of_the_prompts_in_turn_and_seeds(pipeline):
    found = style_centroids(pipeline, ["thing 1", "number 4"], styles=6, count=6)
    wanted = pipeline.map_prompts(["thing 1", "number 4"] * 3, range(6)).styles[:, 0]
    assert torch.allclose(found[found[:, 0].argsort()], wanted[wanted[:, 0].argsort()], atol=1e-5)
    with pytest.raises(UserError, match="6 centroids of 5 styles; take more styles than centroids"):
        style_centroids(pipeline, ["thing 1"], styles=5, count=6)


def test_truncation_pulls_to_the_nearest_centroid(pipeline, tmp_path):
    free = pipeline.map_prompts(["thing 1"] * 4, range(4)).styles
    centroids = torch.stack([free[2, 0] + 0.01, free[0, 0] - 0.01])
    save_centroids(centroids, tmp_path / "centroids.safetensors")
    pipeline.load_centroids(tmp_path / "centroids.safetensors")
    nearest = torch.cdist(free[:, 0], centroids).argmin(1)
    assert nearest[2] == 0 and nearest[0] == 1
    for truncation in (0.0, 0.4, 1.0):
        pulled = pipeline.map_prompts(["thing 1"] * 4, range(4), truncation).styles
        assert torch.allclose(pulled, torch.lerp(centroids[nearest][:, None].expand_as(free), free, truncation), atol=1e-5)


def test_the_commands_make_and_take_the_file(folder, tmp_path, capsys, monkeypatch, root):
    import runpy

    prompts, file = tmp_path / "prompts.txt", tmp_path / "centroids.safetensors"
    prompts.write_text("thing 1\nnumber 4\n")
    options = ["--model", str(folder), "--prompts", str(prompts), "--styles", "20", "--centroids", "3", "--out", str(file)]
    monkeypatch.setattr(sys, "argv", ["centroids.py", *options])
    runpy.run_path(str(root / "eval/centroids.py"), run_name="__main__")
    assert "3 centroids of 20 styles" in capsys.readouterr().out
    sample = ["sample", str(folder), "thing 1", "--centroids", str(file), "--out", str(tmp_path / "out.png")]
    main([*sample, "--truncation", "0.5"])
    assert (tmp_path / "out.png").is_file()
    with pytest.raises(SystemExit):
        main(sample)
    assert "--centroids has no use without --truncation below 1; give both" in capsys.readouterr().err


def test_another_models_centroids_are_refused(pipeline, tmp_path):
    with pytest.raises(UserError, match=r"no centroids at .*; make them with eval/centroids.py"):
        pipeline.load_centroids(tmp_path / "none.safetensors")
    save_centroids(torch.zeros(2, 3), tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"holds centroids of shape \(2, 3\), this model's styles have 16 numbers"):
        pipeline.load_centroids(tmp_path / "other.safetensors")
