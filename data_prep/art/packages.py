"""Packages of art, fetched once into a cache: from npm by its own client, from Debian by apt.

A package that is in the cache already is not fetched, so that a machine without a connection works from a copy of the folder.
"""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from t2igan.errors import UserError

FETCH_SECONDS = 300


def npm_package(package: str, cache: Path, remedy: str) -> Path:
    """The contents of `NAME@VERSION`, as npm packs it.

    Args:
        remedy: how to do without the package; the end of every error's sentence.

    Raises:
        UserError: there is no npm, or npm cannot fetch the package.
    """
    folder = cache / package.rpartition("/")[2]  # with its version
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise UserError(f"{package} comes from npm, which is not installed; install Node.js, or {remedy}")
        _fetch(
            [npm, "pack", package, "--silent"], "*.tgz", folder, f"npm could not fetch {package}", f"check npm's connection, or {remedy}"
        )
    return folder / "package"


def debian_package(name: str, cache: Path, remedy: str) -> Path:
    """The files that a Debian package would install, below their root."""
    folder = cache / name
    if not folder.exists():
        apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
        if apt is None or dpkg is None:
            raise UserError(f"{name} comes from Debian, and apt-get is not here; on another system, {remedy}")
        failed = f"apt-get could not fetch {name}"
        _fetch([apt, "download", name], "*.deb", folder, failed, f"run `apt-get update`, or {remedy}", unpack=[dpkg, "-x"])
    return folder


def debian_source(name: str, cache: Path, remedy: str) -> Path:
    """The upstream source of a Debian package. Where apt lists no sources, a list of its own, beside the download, has them."""
    folder = cache / f"{name}-source"
    if not folder.exists():
        apt = shutil.which("apt-get")
        if apt is None:
            raise UserError(f"{name} comes from Debian, and apt-get is not here; on another system, {remedy}")
        lists = cache / ".apt"
        options = _apt_with_sources(lists)
        failed, remedy = f"apt-get could not fetch the source of {name}", f"check its connection, or {remedy}"
        _run([apt, *options, "update"], cache, failed, remedy)
        _fetch([apt, *options, "source", "--tar-only", name], "*.orig.tar.*", folder, failed, remedy)
        shutil.rmtree(lists, ignore_errors=True)
    return folder


def _apt_with_sources(folder: Path) -> list[str]:
    """Options that make apt read the machine's lists as lists of sources, and keep what it learns in `folder`."""
    parts = folder / "parts"
    (folder / "lists").mkdir(parents=True, exist_ok=True)
    parts.mkdir(exist_ok=True)
    known = Path("/etc/apt")
    for path in sorted(known.glob("sources.list.d/*.sources")):
        lines = path.read_text(encoding="utf-8").splitlines()
        (parts / path.name).write_text("\n".join("Types: deb-src" if line.startswith("Types:") else line for line in lines) + "\n")
    for path in sorted([*known.glob("sources.list"), *known.glob("sources.list.d/*.list")]):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("deb ")]
        (parts / path.with_suffix(".list").name).write_text("\n".join(line.replace("deb ", "deb-src ", 1) for line in lines) + "\n")
    settings = {"Dir::Etc::sourcelist": os.devnull, "Dir::Etc::sourceparts": parts, "Dir::State::lists": folder / "lists"}
    return [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]


def _fetch(command: list, pattern: str, folder: Path, failed: str, remedy: str, unpack: list | None = None) -> None:
    """Runs a command that downloads a file of this pattern, and unpacks that file into `folder`, atomically.

    Args:
        unpack: a command that takes the file and a folder; None: the file is a tar.
    """
    from t2igan.files import atomic_folder  # here, because it imports torch, and the scripts' --help needs the tables of art

    with atomic_folder(folder) as temporary:
        done = _run(command, temporary, failed, remedy)
        fetched = sorted(temporary.glob(pattern))
        if not fetched:
            words = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
            raise UserError(f"{failed} ({words.splitlines()[0]}); {remedy}")
        try:
            if unpack:
                subprocess.run([*unpack, fetched[-1], temporary], check=True, capture_output=True)
            else:
                with tarfile.open(fetched[-1]) as archive:
                    archive.extractall(temporary, filter="data")
        except (subprocess.CalledProcessError, tarfile.TarError, EOFError) as error:
            raise UserError(f"{failed}: what came cannot be unpacked ({' '.join(str(error).split())[:200]}); {remedy}") from None
        for path in temporary.glob("*.*"):
            if path.is_file():
                path.unlink()  # what was downloaded


def _run(command: list, folder: Path, failed: str, remedy: str) -> subprocess.CompletedProcess:
    """Raises UserError where the command takes too long."""
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        raise UserError(f"{failed} in {FETCH_SECONDS} s; {remedy}") from None
