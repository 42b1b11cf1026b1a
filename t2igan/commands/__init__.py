"""One file per command of `t2igan`: its help line, its arguments and what it runs."""

from t2igan.commands import diff, edit, import_official, invert, publish, sample, show, train, upsample

COMMANDS = {
    "train": train,
    "sample": sample,
    "edit": edit,
    "invert": invert,
    "upsample": upsample,
    "publish": publish,
    "show": show,
    "diff": diff,
    "import": import_official,
}
