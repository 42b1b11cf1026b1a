"""`t2igan publish`: a finished run to a folder for other people."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from t2igan.commands.arguments import IMAGE_ENDINGS, check_out_folder
from t2igan.errors import UserError

HELP = "a finished run to a folder for other people: half-precision weights, recipe, card, hashes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier publication there is replaced")
    parser.add_argument("--machine", default="", help="what it was trained on, for the card")
    parser.add_argument("--scores", type=Path, help="result.json of a script of eval/, for the card")
    parser.add_argument("--limits", type=Path, help="Markdown for the card: what it cannot do")
    parser.add_argument("--credits", type=Path, help="Markdown for the card: who made the data, such as the README.md beside the shards")
    parser.add_argument("--picture", type=Path, help="PNG for the card: what it draws")
    parser.add_argument("--discriminator", action="store_true", help="D too, from the newest checkpoint: for t2igan train --from")
    parser.add_argument("--float32", action="store_true", help="weights as they were trained, twice as large")


def run(arguments: argparse.Namespace) -> None:
    check_arguments(arguments)

    from t2igan.inference.publish import CardNotes, publish, scores_table
    from t2igan.training.start import read_checkpoint

    notes = CardNotes(
        machine=arguments.machine,
        limits=read(arguments.limits),
        credits=read(arguments.credits),
        scores=scores_table(arguments.scores) if arguments.scores else "",
        picture=arguments.picture,
    )
    discriminator = read_checkpoint(str(arguments.model), "--discriminator:")["discriminator"] if arguments.discriminator else None
    found = publish(arguments.model, arguments.out, notes, not arguments.float32, discriminator)
    print(f"{arguments.out}: {found.megabytes:.1f} MB")
    if found.difference is not None:
        print(f"half precision changes no pixel by more than {found.difference:.1f} of 255 steps")
    if found.local_paths:
        print(f"the recipe names places on this machine, which others do not have: {', '.join(found.local_paths)}")


def foreign_files(folder: Path) -> Iterator[str]:
    """What a folder holds beside the files that the SHA256SUMS of an earlier publication names."""
    sums = folder / "SHA256SUMS"
    own = {line.split(maxsplit=1)[-1].lstrip("*") for line in read(sums).split("\n") if line.strip()} if sums.is_file() else set()
    own.add(sums.name)
    return (path.name for path in folder.iterdir() if path.name not in own) if folder.is_dir() else iter(())


def read(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file} ({error})") from None


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raises UserError for what is known to be wrong before the model is loaded."""
    check_out_folder(arguments.out)
    if foreign := next(foreign_files(arguments.out), None):
        raise UserError(f"--out {arguments.out} holds {foreign}, which is of no published model and would be lost; give a new folder")
    if arguments.picture is not None and arguments.picture.suffix.lower() not in IMAGE_ENDINGS[:1]:
        raise UserError(f"--picture is {arguments.picture}, needs a PNG")
    if arguments.picture is not None and not arguments.picture.is_file():
        raise UserError(f"--picture {arguments.picture}: there is no such file")
