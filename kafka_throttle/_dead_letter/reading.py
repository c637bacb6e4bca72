"""The way back from a file: letters are read one by one, and those that were delivered are taken out."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, BinaryIO

from attrs import define, field

from kafka_throttle._dead_letter.files import Files, mapped, open_private, same_file
from kafka_throttle._dead_letter.lines import LONGEST_LINE
from kafka_throttle.exceptions import DeadLetterError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["OpenFile"]

_BLOCK = 1024 * 1024


@define(eq=False)
class OpenFile:
    """One file of letters as it was when it was opened; what is appended later is left to the next time.

    Attributes:
        path: Its path when it was opened; a sink may rename it at any time.
        size: Its bytes when it was opened.
    """

    path: Path
    size: int
    _descriptor: int
    _delivered: set[int] = field(factory=set)

    @classmethod
    def open(cls, path: Path) -> OpenFile:
        """Open a file.

        Raises:
            DeadLetterError: When it cannot be read.
        """
        with mapped("read", path):
            descriptor = open_private(path, os.O_RDONLY, like=path)
            return cls(path, os.fstat(descriptor).st_size, descriptor)

    def close(self) -> None:
        """Close it, and end what `claim` began."""
        os.close(self._descriptor)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines; an unfinished last one, which is still being written, is left out.

        Raises:
            DeadLetterError: When the file cannot be read, or has a line that is longer than any of a letter.
        """
        with mapped("read", self.path), os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            while file.tell() < self.size:
                line = file.readline(min(LONGEST_LINE + 1, self.size - file.tell()))
                if line.endswith(b"\n"):
                    yield line
                elif len(line) > LONGEST_LINE:
                    raise DeadLetterError(
                        f"{str(self.path)!r} has a line of more than {LONGEST_LINE:,} bytes: "
                        "it is no file of dead letters"
                    )

    def claim(self, files: Files) -> bool:
        """Keep others from taking letters out until this file is closed.

        Args:
            files: The files it is one of.

        Returns:
            False when another process has replaced it in the meantime.

        Raises:
            DeadLetterError: When another process does so now, or the file belongs to another user.
        """
        if os.geteuid() not in {0, os.fstat(self._descriptor).st_uid}:
            raise DeadLetterError(
                f"{str(self.path)!r} belongs to another user, who alone (or root) can take letters out of it"
            )
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeadLetterError(
                f"another process takes letters out of {str(self.path)!r} at this moment"
            ) from None
        return self._name(files) is not None

    def delivered(self, number: int) -> None:
        """Note that the letter in a line was delivered; the first line is 0."""
        self._delivered.add(number)

    def take_out(self, files: Files) -> None:
        """Remove the lines whose letters were delivered, in one step; the rest stays, and what was appended since.

        Args:
            files: The files it is one of.

        Raises:
            DeadLetterError: When the disk refuses; the file is as it was.
        """
        if not self._delivered:
            return
        with mapped("take the delivered letters out of", self.path), files.locked():
            name = self._name(files)
            if name is None:
                raise DeadLetterError(f"{str(self.path)!r} was taken away while its letters were delivered")
            self._rewrite(name, files.beside("rewrite"))
        self._delivered.clear()

    def _name(self, files: Files) -> Path | None:
        """Return the name that the file has now: a sink may have given it a number."""
        return next((path for path in files.present() if same_file(path, self._descriptor)), None)

    def _rewrite(self, name: Path, draft: Path) -> None:
        target = open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, like=name)
        try:
            with os.fdopen(target, "wb") as file:
                os.fchmod(target, os.fstat(self._descriptor).st_mode & 0o777)
                kept = self._copy(file)
                file.flush()
                os.fsync(target)
            if kept:
                draft.replace(name)
            else:
                name.unlink()
        finally:
            draft.unlink(missing_ok=True)

    def _copy(self, target: BinaryIO) -> bool:
        """Copy what is to stay; return whether that is anything."""
        kept, at = 0, 0
        for number, line in enumerate(self.lines()):
            at += len(line)
            if number not in self._delivered:
                kept += target.write(line)
        while block := os.pread(self._descriptor, _BLOCK, at):
            at += len(block)
            kept += target.write(block)
        return kept > 0
