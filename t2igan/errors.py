"""Runs a command or a script: user errors become one line on stderr and exit code 2."""

import errno
import sys
from collections.abc import Callable

from t2igan.memory import reuse_freed_memory


class UserError(ValueError):
    """An error that the user can mend; the message states what was got, what is needed and what to do."""


def run_script(main: Callable[[], None]) -> None:
    """Runs `main`; errors that the user can mend become one line on stderr and exit code 2, or a traceback with `--debug` in sys.argv.

    These are a UserError and what the machine refuses: no permission, a read-only or a full disk. Freed memory is kept for reuse.
    """
    reuse_freed_memory()
    try:
        main()
    except UserError as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if "--debug" in sys.argv or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC):
            raise
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror}{where}; check permissions and free space", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
