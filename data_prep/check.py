"""A report on webdataset shards: what is in them, and what is wrong with them.

    python data_prep/check.py data/emoji_32 --sheet sheet.png

Exit code 2 if a file is truncated or not a tar.
"""

import argparse
import sys
from pathlib import Path

from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+", help=".tar files, folders that hold them, or patterns")
    parser.add_argument("--json", type=Path, help="also write the report here")
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet of some of the images here (.png)")
    parser.add_argument("--index", action="store_true", help="also write the index beside each tar, so that training does not scan it")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()
    for path in (args.json, args.sheet):
        if path and not path.resolve().parent.is_dir():
            raise UserError(f"no folder {path.parent} to write {path.name} to; make it first")

    from t2igan.data.check import check_shards, find_tars, format_report, write_indices  # here, because --help needs no torch
    from t2igan.files import write_json
    from t2igan.grids import contact_sheet

    tars = find_tars(args.shards)
    findings = check_shards(tars)
    report = findings.report()
    print("\n".join(format_report(report)))
    if args.json:
        write_json(args.json, report)
    if args.sheet and findings.sheet:
        contact_sheet(findings.sheet).save(args.sheet, "PNG")
    if args.index:
        print(f"indices written: {write_indices(tars)}")
    for broken in report["broken_shards"]:
        print(f"error: {broken}", file=sys.stderr)
    if report["broken_shards"]:
        raise SystemExit(2)


if __name__ == "__main__":
    run_script(main)
