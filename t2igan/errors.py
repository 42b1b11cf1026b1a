"""Runs a command or a script: user errors become one line on stderr and exit code 2."""

import errno
import os
import sys
from collections.abc import Callable

from t2igan.memory import reuse_freed_memory

MACHINE_REFUSES = {
    errno.EACCES, errno.EPERM, errno.ENOENT, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EISDIR, errno.ENOTDIR,
    errno.ENAMETOOLONG, errno.ELOOP,
}  # fmt: skip
PIPE_CLOSED = 141  # the exit status that a shell gives a process which a closed pipe ended


class UserError(ValueError):
    """An error that the user can mend; the message states what was got, what is needed and what to do."""


def run_script(main: Callable[[], None]) -> None:
    """Runs `main`; errors that the user can mend become one line on stderr and exit code 2, or a traceback with `--debug` in sys.argv.

    These are a UserError and what the machine refuses: no permission, an impossible path, a full disk, no memory. Where a pipe's reader has
    gone, as in `t2igan show RECIPE | head -1`, the command ends without a word. Freed memory is kept for reuse.
    """
    reuse_freed_memory()
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's own flush at its end would fail again
        raise SystemExit(PIPE_CLOSED) from None
    except UserError as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if "--debug" in sys.argv or error.errno not in MACHINE_REFUSES:
            raise
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror}{where}; check the path, permissions and free space", file=sys.stderr)
        raise SystemExit(2) from None
    except MemoryError:
        if "--debug" in sys.argv:
            raise
        print("error: not enough memory; ask for less at a time", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
