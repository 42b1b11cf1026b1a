"""Class-conditional and unconditional systems: prompts without a text tower."""

import pytest
import torch

from t2igan.errors import UserError
from t2igan.text import KINDS, LabelTextConfig, NoTextConfig
from t2igan.text.cache import CaptionEncoder
from t2igan.types import CheckContext

NAMES = ("airplane", "automobile", "bird", "7")


def encode(config, *prompts, **options):
    encoder = config.build()
    encoder.load_pretrained()
    return CaptionEncoder(encoder, **options)(list(prompts))


def test_a_prompt_is_a_class_name_or_a_class_number():
    config = LabelTextConfig(4, NAMES)
    text = encode(config, "bird", " Airplane\n", "1", "003", "7")
    assert text.source.ids.tolist() == [[2], [0], [1], [3], [3]], "a name of digits comes before the number"
    assert text.source.mask.all() and text.source.mask.shape == (5, 1)
    assert torch.equal(text.pooled, torch.eye(4)[[2, 0, 1, 3, 3]])
    assert torch.equal(text.local, text.pooled[:, None])
    assert text.local.dtype == torch.float32


def test_without_names_a_prompt_is_a_class_number():
    assert encode(LabelTextConfig(1000), "0", "999").source.ids.tolist() == [[0], [999]]
    with pytest.raises(UserError, match="got the class 'bird', but the classes of this system have no names; give a number from 0 to 999"):
        encode(LabelTextConfig(1000), "bird")


@pytest.mark.parametrize("number", ["4", "10", "9" * 5000])
def test_a_number_out_of_range_is_named(number):
    with pytest.raises(UserError, match=f"got class number {number[:20]}; class numbers of this system run from 0 to 3"):
        encode(LabelTextConfig(4, NAMES), number)


@pytest.mark.parametrize("prompt", ["aeroplane", "-1", "1.0", "\u0663", ""])
def test_an_unknown_class_is_named_with_the_nearest_ones(prompt):
    with pytest.raises(UserError) as caught:
        encode(LabelTextConfig(4, NAMES), prompt)
    assert str(caught.value).startswith(f"there is no class {prompt!r}; the nearest of the 4 names are '")
    if prompt == "aeroplane":
        assert "are 'airplane'" in str(caught.value)


@pytest.mark.parametrize(("config", "what"), [
    (LabelTextConfig(3, NAMES), "names has 4 entries, needs one for each of the 3 classes"),
    (LabelTextConfig(2, ("bird", " Bird")), "names has ' Bird' twice"),
    (LabelTextConfig(2, ("bird", " ")), "names has an empty entry"),
])  # fmt: skip
def test_names_that_cannot_be_are_refused(config, what):
    with pytest.raises(ValueError, match=what):
        config.check(CheckContext(32, (32,)))


def test_names_may_be_left_out_or_be_one_for_each_class():
    LabelTextConfig(4).check(CheckContext(32, (32,)))
    LabelTextConfig(4, NAMES).check(CheckContext(32, (32,)))


def test_no_text_gives_descriptors_of_width_zero_to_any_prompt():
    text = encode(NoTextConfig(), "red cat", "", "bus")
    assert (text.local.shape, text.pooled.shape) == ((3, 1, 0), (3, 0))
    assert text.source.mask.all() and text.source.ids.shape == (3, 1)
    z = torch.randn(3, 8)
    assert torch.equal(torch.cat([z, text.pooled], 1), z), "modules that join the pooled vector get nothing"
    assert text.repeat(2).pooled.shape == (6, 0)


@pytest.mark.parametrize("config", [NoTextConfig(), LabelTextConfig(4, NAMES)])
def test_encoders_without_a_tower_leave_no_cache(config, tmp_path):
    first, again = encode(config, "bird", folder=tmp_path), encode(config, "bird", folder=tmp_path)
    assert torch.equal(first.pooled, again.pooled)
    assert not list(tmp_path.iterdir())
    encoder = config.build()
    describe = CaptionEncoder(encoder)
    describe(["bird"])
    assert not describe.cache.rows
    assert encoder.count_parameters() == 0 and not list(encoder.parameters())
    assert encoder.truncated_prompt("a bird of any length") == "a bird of any length"


def test_which_encoders_depend_on_the_prompt():
    assert not NoTextConfig().build().conditional and LabelTextConfig(4).build().conditional


def test_fingerprints_tell_label_sets_apart():
    prints = {
        config.build().fingerprint() for config in (LabelTextConfig(4), LabelTextConfig(5), LabelTextConfig(4, NAMES), NoTextConfig())
    }
    assert len(prints) == 4


def test_the_table_of_kinds():
    assert list(KINDS) == ["transformers", "open_clip", "label", "none"]
