"""A progress bar on standard error, if that is a terminal."""

from __future__ import annotations

import sys

_WIDTH = 30


class Progress:
    """A bar that is drawn again and again on one line, and removed at the end."""

    def __init__(self) -> None:
        self._shows = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._write("\r\x1b[K")

    def show(self, done: float, note: str) -> None:
        """Draw the bar.

        Args:
            done: which part is done, 0 to 1.
            note: what stands after the bar.
        """
        filled = round(min(max(done, 0.0), 1.0) * _WIDTH)
        self._write(f"\r[{'█' * filled}{'·' * (_WIDTH - filled)}] {note}\x1b[K")

    def _write(self, text: str) -> None:
        if not self._shows:
            return
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, UnicodeEncodeError):
            self._shows = False
