"""Progress of long work, on a terminal and off it."""

import sys
import time

LINE_EVERY = 30.0  # seconds between lines when stderr is not a terminal
REFRESH = 0.2  # seconds between updates of the line on a terminal


class Progress:
    """Prints one line that is updated on a terminal, otherwise a line now and then."""

    def __init__(self):
        self.task, self.began, self.first, self.last = "", 0.0, 0.0, 0.0

    def __call__(self, task: str, done: float, details: str = "") -> None:
        now = time.monotonic()
        if task != self.task:
            self.task, self.began, self.first, self.last = task, now, done, now  # an interrupted training does not begin at 0
        terminal = sys.stderr.isatty()
        if now - self.last < (REFRESH if terminal else LINE_EVERY):
            return
        self.last = now
        left = round((now - self.began) * (1 - done) / (done - self.first)) if done > self.first else 0
        line = f"{task}: {done:.0%}, {left // 60}:{left % 60:02} left{details}"
        print(f"\r\033[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clears the line on a terminal."""
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
