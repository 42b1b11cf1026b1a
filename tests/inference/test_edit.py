"""Edits: what each takes from which prompt and seed."""

import pytest
import torch
from PIL import Image
from tiny import stylegan2_recipe

from t2igan.config import Recipe
from t2igan.data.images import to_pil
from t2igan.errors import UserError
from t2igan.inference import edit
from t2igan.inference.model_folder import save_model
from t2igan.inference.pipeline import Pipeline
from t2igan.recipe import parse
from t2igan.system import build_system

pytest_plugins = ["kit"]
A, B, C = "thing 1", "number 4", "a longer prompt, 2"


@pytest.fixture(scope="module")
def pipeline(folder):
    pipeline = Pipeline.load(folder, "cpu")
    pipeline.generator.mapper.mean_style.normal_(generator=torch.Generator().manual_seed(4))
    return pipeline


@pytest.fixture(scope="module")
def alias_free(kit, tmp_path_factory):
    return alias_free_pipeline(kit, tmp_path_factory.mktemp("alias_free"))


def alias_free_pipeline(kit, folder, **options) -> Pipeline:
    synthesis = {"kind": "stylegan3", "layers": 6, "channel_base": 512, "channel_max": 16} | options
    recipe = parse(Recipe, stylegan2_recipe(kit, generator__synthesis=synthesis), "")
    torch.manual_seed(4)
    save_model(folder / "model", build_system(recipe).generator, recipe, {"images_seen": 1})
    return Pipeline.load(folder, "cpu")


def sampled(pipeline, prompt, seed, **options) -> bytes:
    return to_pil(pipeline.sample_tensor([prompt], [seed], **options)[0]).tobytes()


def test_interpolation_begins_and_ends_at_the_prompts_own_images(pipeline):
    (row,) = edit.interpolate(pipeline, [A, B, C], [3], steps=2)
    assert len(row) == 5
    assert [row[i].tobytes() for i in (0, 2, 4)] == [sampled(pipeline, prompt, 3) for prompt in (A, B, C)]
    assert len({image.tobytes() for image in row}) == 5, "images between them are equal to none of them"


def test_interpolation_is_linear_in_styles_and_words(pipeline):
    a, b = (pipeline.map_prompts([prompt], [3]) for prompt in (A, C))
    middle = edit.lerp(a, b, 0.25)
    assert torch.allclose(middle.styles, 0.75 * a.styles + 0.25 * b.styles)
    for x, y, z in zip(a.texts, b.texts, middle.texts, strict=True):
        both, only_b = x.source.mask & y.source.mask, y.source.mask & ~x.source.mask
        assert both.any() and only_b.any()
        assert torch.allclose(z.local[both], 0.75 * x.local[both] + 0.25 * y.local[both], atol=1e-6)
        assert torch.allclose(z.local[only_b], y.local[only_b], atol=1e-6), "a word that only one prompt has is that word"
        assert torch.equal(z.source.mask, x.source.mask | y.source.mask)
        assert torch.allclose(z.attention_bias[only_b].exp(), torch.tensor(0.25)) and (z.attention_bias[both].abs() < 1e-6).all()


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_interpolation_has_no_jump_at_its_ends(end, pipeline):
    """Prompts of different lengths: the words that only one has fade in and out."""
    a, b = (pipeline.map_prompts([prompt], [3]) for prompt in (A, C))
    at, near, middle = (pipeline.synthesize(edit.lerp(a, b, weight)) for weight in (end, abs(end - 1e-3), 0.5))
    assert (near - at).abs().max() < 0.02 * (middle - at).abs().max()


def test_a_square_has_its_prompts_at_the_corners(pipeline):
    rows = edit.interpolate_square(pipeline, [A, B, C, A], 5, steps=2)
    corners = [rows[0][0], rows[0][2], rows[2][0], rows[2][2]]
    assert [image.tobytes() for image in corners] == [sampled(pipeline, prompt, 5) for prompt in (A, B, C, A)]
    assert [len(row) for row in rows] == [3, 3, 3]


def test_style_mixing_takes_coarse_stages_from_one_seed_and_fine_ones_from_another(pipeline):
    rows = edit.style_mix(pipeline, A, coarse=[1, 2], fine=[3, 1], layer=1)
    assert [len(row) for row in rows] == [3, 3, 3]
    assert [rows[0][1].tobytes(), rows[0][2].tobytes()] == [sampled(pipeline, A, 3), sampled(pipeline, A, 1)]
    assert rows[1][2].tobytes() == rows[1][0].tobytes() == sampled(pipeline, A, 1), "mixed with itself it stays"
    a, b = pipeline.map_prompts([A], [1]), pipeline.map_prompts([A], [3])
    by_hand = pipeline.generator.synthesize(torch.cat([a.styles[:, :1], b.styles[:, 1:]], 1), list(a.texts)).pyramid.finest
    assert rows[1][1].tobytes() == to_pil(by_hand[0]).tobytes()


def test_prompt_mixing_swaps_styles_and_words_from_the_layer_on(pipeline):
    ((alone, mixed),) = edit.prompt_mix(pipeline, A, [B], [7], layer=2)
    assert alone.tobytes() == sampled(pipeline, A, 7)
    a, b = pipeline.map_prompts([A], [7]), pipeline.map_prompts([B], [7])
    styles = torch.cat([a.styles[:, :2], b.styles[:, 2:]], 1)
    by_hand = pipeline.generator.synthesize(styles, [a.texts[0], a.texts[1], b.texts[2]]).pyramid.finest
    assert mixed.tobytes() == to_pil(by_hand[0]).tobytes()
    words_stay = edit.mix(a, b, 1, words=False)
    assert words_stay.texts == a.texts and not torch.equal(words_stay.styles, a.styles)


def test_truncation_ends_at_the_mean_it_goes_towards(pipeline):
    own = edit.truncate(pipeline, A, [1, 2], [0.0, 1.0], "prompt")
    assert own[0][0].tobytes() == own[1][0].tobytes() != own[0][1].tobytes() == sampled(pipeline, A, 1)
    of_all = edit.truncate(pipeline, A, [1], [0.0], "global")[0][0]
    mean = pipeline.map_prompts([A], [1], 1.0, 0.0).styles
    assert torch.allclose(mean, pipeline.generator.mapper.mean_style.expand_as(mean))
    assert of_all.tobytes() == sampled(pipeline, A, 2, global_truncation=0.0) != own[0][0].tobytes()
    assert edit.truncate(pipeline, A, [1], [0.5], "both")[0][0].tobytes() == sampled(pipeline, A, 1, truncation=0.5, global_truncation=0.5)


def test_both_truncations_are_interpolations_one_after_the_other(pipeline):
    mapper, text = pipeline.generator.mapper, pipeline.generator.adapt(pipeline.encode_text([A]))
    w = mapper.map(pipeline.latent(1)[None], text)
    own = torch.lerp(mapper.conditional_mean(text), w, 0.6)
    expected = torch.lerp(mapper.mean_style, own, 0.3)
    assert torch.allclose(pipeline.map_prompts([A], [1], 0.6, 0.3).styles[:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("ending", [".webp", ".gif", ".mp4"])
def test_an_animation_shows_the_columns_in_turn(ending, pipeline, tmp_path):
    rows = edit.interpolate(pipeline, [A, B], [0], steps=3)
    edit.save(rows, ["a to b"], tmp_path / f"animation{ending}", fps=5)
    if ending == ".mp4":
        import av

        with av.open(str(tmp_path / "animation.mp4")) as file:
            assert len(list(file.decode(video=0))) == 4
    else:
        assert Image.open(tmp_path / f"animation{ending}").n_frames == 4


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda p: edit.interpolate(p, [A], [0], 2), "from prompt to prompt, got 1"),
        (lambda p: edit.interpolate(p, [A, B], [0], 0), "--steps is 0"),
        (lambda p: edit.interpolate_square(p, [A, B], 0, 2), "four prompts at its corners, got 2"),
        (lambda p: edit.style_mix(p, A, [0], [1], 3), "--layer is 3, needs 1 to 2: the model has 3 stages"),
        (lambda p: edit.prompt_mix(p, A, [B], [0], 0), "--layer is 0, needs 1 to 2"),
        (lambda p: edit.prompt_mix(p, A, [], [0], 1), "look from others, got one"),
        (lambda p: edit.truncate(p, A, [0], [1.5], "prompt"), "--values is 1.5"),
    ],
)
def test_what_cannot_be_done_is_refused(call, said, pipeline):
    with pytest.raises(UserError, match=said):
        call(pipeline)


def test_global_truncation_needs_a_measured_mean(pipeline):
    kept = pipeline.generator.mapper.mean_style.clone()
    try:
        pipeline.generator.mapper.mean_style.zero_()
        with pytest.raises(UserError, match="no mean style to truncate to"):
            pipeline.sample_tensor([A], [0], global_truncation=0.5)
    finally:
        pipeline.generator.mapper.mean_style.copy_(kept)


# ---------------------------------------------------------------------------------------------------- movements


def test_a_movement_is_the_inverse_of_what_happens_to_the_image():
    assert torch.allclose(edit.movement((0.1, -0.2)), torch.tensor([[1, 0, -0.1], [0, 1, 0.2], [0, 0, 1]]))
    assert torch.allclose(edit.movement(zoom=2.0), torch.diag(torch.tensor([0.5, 0.5, 1])))
    quarter = edit.movement(degrees=90.0)[:2, :2] @ torch.tensor([1.0, 0.0])
    assert torch.allclose(quarter, torch.tensor([0.0, -1.0]), atol=1e-6), "clockwise, as down is positive"


def test_a_film_begins_at_the_image_and_moves_it(alias_free):
    (row,) = edit.move(alias_free, A, [3], steps=2, translate=(4 / 16, 0.0))
    images = [torch.tensor(list(image.convert("L").tobytes())).view(16, 16).float() for image in row]
    assert len(row) == 3 and row[0].tobytes() == sampled(alias_free, A, 3)
    assert (images[1][:, 2:] - images[0][:, :-2]).abs().max() <= 2, "two pixels to the right, and rounding"
    assert (images[2][:, 4:] - images[0][:, :-4]).abs().max() <= 2
    assert torch.equal(alias_free.generator.synthesis.fourier_input.transform, torch.eye(3)), "the model is left as it was"
    (zoomed,) = edit.move(alias_free, A, [3], steps=1, zoom=1.5)
    (turned,) = edit.move(alias_free, A, [3], steps=1, degrees=90.0)
    assert len({image.tobytes() for image in (row[0], zoomed[1], turned[1])}) == 3


def test_a_quarter_turn_is_the_image_turned_clockwise(kit, tmp_path):
    """Of configuration R, whose kernels and filters have no direction."""
    ((upright, lying),) = edit.move(alias_free_pipeline(kit, tmp_path, equivariance="rotation"), A, [3], steps=1, degrees=90.0)
    before, after = (torch.tensor(list(image.convert("L").tobytes())).view(16, 16).float() for image in (upright, lying))
    assert (after - torch.rot90(before, -1)).abs().max() <= 2 < (after - before).abs().max()


def test_what_cannot_be_moved_is_refused(pipeline, alias_free):
    with pytest.raises(UserError, match="this model starts from a grid, not from Fourier features"):
        edit.move(pipeline, A, [3], steps=2, zoom=2.0)
    with pytest.raises(UserError, match=r"--zoom is -1\.0, needs a number above 0"):
        edit.move(alias_free, A, [3], steps=2, zoom=-1.0)
