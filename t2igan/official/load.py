"""A pickle of a StyleGAN release to a model folder."""

import hashlib
from pathlib import Path

import torch

from t2igan.errors import UserError
from t2igan.inference.model_folder import ModelConfig, write_model
from t2igan.official import SYSTEMS
from t2igan.official.pickles import Inert, read_pickle
from t2igan.system import build_generator
from t2igan.text.label import LabelTextConfig
from t2igan.text.none import NoTextConfig
from t2igan.types import CheckContext, TextDims


def import_pickle(path: Path, out: Path, network: str = "G_ema", names: tuple[str, ...] = ()) -> str:
    """Writes `out`/model and returns what it is.

    Args:
        network: which of the file's networks.
        names: of the classes, where it is conditional; without names, prompts are class numbers.

    Raises:
        UserError: the file is no such pickle, has no such network, or one that this project has no form of.
    """
    there = read_pickle(path)
    found = there.get(network)
    if not isinstance(found, Inert):
        known = ", ".join(name for name, value in there.items() if isinstance(value, Inert)) or "none"
        raise UserError(f"{path} has no network {network!r}; its networks: {known}")
    try:
        theirs = found.state()
    except ValueError as error:
        raise UserError(f"{network} of {path} is no network: {error}") from None
    system, convert = next(((name, convert) for name, (fits, convert) in SYSTEMS.items() if fits(theirs)), (None, None))
    if convert is None:
        raise UserError(f"{network} of {path} is a {found.class_name} of another system than {', '.join(SYSTEMS)}, which can be imported")
    unlike = f"{network} of {path} is not the {system} that it looks like"
    if sum(value.numel() for value in theirs.values()) > path.stat().st_size:
        raise UserError(f"{unlike}: its tensors are larger than the file")
    try:
        config, resolution, labels, state = convert(found, {name: value.float() for name, value in theirs.items()})
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f"{unlike}: it has no {error.args[0]}") from None
    except (ValueError, TypeError, IndexError, ArithmeticError, RuntimeError) as error:
        raise UserError(f"{unlike} ({error})") from None
    if names and not labels:
        raise UserError(f"{path} is unconditional; leave out the names of classes")
    text = LabelTextConfig(num_classes=labels, names=names) if labels else NoTextConfig()
    try:
        text.check(CheckContext(resolution, (resolution,)))
    except ValueError as error:
        raise UserError(str(error)) from None
    with torch.device("meta"):  # takes no memory: what the file says of its widths may be anything
        wanted = build_generator(config, resolution, TextDims(labels, labels)).state_dict()
    wrong = next((name for name, value in wanted.items() if name not in state or state[name].shape != value.shape), None)
    if wrong:
        raise UserError(f"{unlike}: {wrong} is missing or has another shape than {tuple(wanted[wrong].shape)}")
    generator = build_generator(config, resolution, TextDims(labels, labels))
    try:
        generator.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{unlike} ({str(error).splitlines()[1].strip()[:200]})") from None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    card = f"# {path.stem}\n\n{system} at {resolution} px, imported by t2igan from {path.name} (SHA-256 {digest}).\n"
    card += "The weights are under the licence of those who released them.\n"
    write_model(out / "model", generator, ModelConfig(path.stem, resolution, config, text), card)
    return f"{system}, {resolution} px, {f'{labels} classes' if labels else 'unconditional'}"
