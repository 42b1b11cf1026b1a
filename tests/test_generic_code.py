"""Generic code knows no paper, and the check of that sees what it is there to see."""

from pathlib import Path

import pytest
from generic_code import CLASSES, DECLARED, FILES, KINDS, files, violations

PACKAGE = Path(__file__).resolve().parents[1] / "t2igan"


@pytest.mark.parametrize("path", files(PACKAGE), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_generic_code_knows_no_system(path):
    assert not violations(path), "\n".join(violations(path))


def test_the_check_finds_its_files_names_and_kinds():
    for pattern in FILES:
        assert list(PACKAGE.glob(pattern)), f"{pattern} is no file"
    assert {"num_styles", "condition", "low_resolution", "starts_from_image", "state_dict"} <= DECLARED["synthesis"]
    assert {"z_dim", "mean_style", "map", "training"} <= DECLARED["mapper"] and "num_clusters" in DECLARED["style"]
    assert {"levels", "batch_multiple", "build", "check"} <= DECLARED["network"]
    for part in DECLARED:
        assert not {"channels", "stages", "inputs", "minibatch_std", "probability", "tower"} & DECLARED[part]
    assert {"gigagan", "mapping", "r1", "none"} <= KINDS and {"GigaGANSynthesis", "MappingConfig", "R1", "NoAugmentConfig"} <= CLASSES
    assert not {"Augment", "Term", "DiscriminatorNetwork", "TextEncoder", "Generator"} & CLASSES


ATTRIBUTES = [
    "def f(self):\n    return self.generator.synthesis.stages",
    "def f(recipe):\n    return recipe.discriminator.network.minibatch_std",
    "def f(recipe):\n    return recipe.generator.style.depth",
    "def f(recipe):\n    return recipe.augment.probability",
    "def f(recipe):\n    return recipe.text.max_tokens_of_the_tower",
    "def f(self):\n    return self.critic.network.stages",
    "def f(self):\n    self.discriminator.adapter_width = 3",
    "def f(G):\n    mapper, n = G.mapper, 3\n    return mapper.layers[n]",
    "def f(recipe):\n    config = recipe.generator.synthesis\n    return config.channels",
    "def f(D: 'DiscriminatorNetwork'):\n    return D.heads",
    "def f(x: SynthesisNetwork | None):\n    return x.from_style",
    "def f(self):\n    return getattr(self.generator.synthesis, 'noise', 0)",
    "def f(self):\n    return hasattr(self.discriminator, 'tower')",
    "low = RECIPE.generator.synthesis.num_downsamples",
]
KINDS_AND_CLASSES = [
    "def f(term):\n    return term.kind == 'reconstruction'",
    "def f(term):\n    return term.kind in ('r1', 'r1_finite')",
    "def f(recipe):\n    match recipe.text:\n        case 'none':\n            return 1",
    "def f(x):\n    return type(x).__name__ == 'Anything'",
    "def f(x):\n    name = x.__class__.__qualname__\n    return name",
    "def f(term):\n    return isinstance(term, R1)",
    "def f(x):\n    return isinstance(x, gigagan.GigaGANSynthesis)",
    "def f(x):\n    from t2igan.style.mapping import MappingNetwork as Mapper\n    return isinstance(x, Mapper)",
    "def f(x):\n    return type(x) is NoAugmentConfig",
]
NAMES = [
    "def f(module):\n    return [p for name, p in module.named_parameters() if 'attention' in name]",
    "def f(module):\n    return [p for name, p in module.named_parameters() if '.to_' not in name]",
    "def f(module):\n    return [m for name, m in module.named_modules() if name.startswith('synthesis.')]",
    "def f(module):\n    return [b for name, b in module.named_buffers() if name.endswith(('.weight', '.bias'))]",
    "def f(module):\n    return {k: v for k, v in module.state_dict().items() if k.find('mapper') >= 0}",
    "def f(module):\n    return {name.split('.')[0] for name in module.state_dict()}",
    "def f(module):\n    return {name.removeprefix('module.') for name, _ in module.named_children()}",
    "def f(module):\n    return [name for name, _ in module.named_parameters() if re.match(r'stages\\.\\d+', name)]",
    "CHOSEN = [name for name, _ in MODULE.named_parameters() if 'conv' in name]",
]


@pytest.mark.parametrize("file", ["training/trainer.py", "system.py", "commands/show.py"])
@pytest.mark.parametrize("code", ATTRIBUTES + KINDS_AND_CLASSES + NAMES)
def test_a_planted_violation_is_seen(code, file, tmp_path):
    """In a copy of a real file, which has none without it."""
    copy = tmp_path / Path(file).name
    copy.write_text((PACKAGE / file).read_text())
    assert not violations(copy)
    copy.write_text(copy.read_text() + f"\n\n{code}\n")
    (found,) = {violation.split(" ", 1)[0].split(":")[0] for violation in violations(copy)}
    assert found == copy.name


ALLOWED = [
    "def f(recipe):\n    return recipe.generator.synthesis.levels(recipe.resolution)",
    "def f(self):\n    return self.generator.mapper.mean_style, self.discriminator.batch_multiple",
    "def f(text: str):\n    return text.split(',')",
    "def f(needs):\n    return 'real_leaves' in needs",
    "def f(x):\n    raise TypeError(f'{type(x).__name__} builds nothing')",
    "try:\n    work()\nexcept OSError as error:\n    print(str(error) or type(error).__name__)",
    "def f(x):\n    'none'\n    return x",
    "def f(module, tensors):\n    names = dict(module.named_parameters())\n    return [names[key.rpartition('/')[0]] for key in tensors]",
    "def f(module, pattern):\n    return [name for name, _ in module.named_parameters() if fnmatchcase(name, pattern)]",
    "def f(path):\n    return path.name.startswith('.')",
]


@pytest.mark.parametrize("code", ALLOWED)
def test_what_generic_code_may_do_is_not_seen_as_a_violation(code, tmp_path):
    path = tmp_path / "file.py"
    path.write_text(code + "\n")
    assert not violations(path)
