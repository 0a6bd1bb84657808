"""A file that grows: it has its name once it is whole, and what the disk does not take whole is not in it."""

from __future__ import annotations

import os
from pathlib import Path


class GrowingFile:
    """Ends in .partial until `keep`; a crash leaves that behind, readable up to the last write."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, FileExistsError among them."""
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        self._file = self._partial.open("xb", buffering=0)

    def write(self, data: bytes) -> int:
        """Write all of `data`. Raises OSError where the disk does not take all; then the file is no longer for it."""
        start, end = self._file.tell(), os.fstat(self._file.fileno()).st_size
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            self._file.truncate(end)
            self._file.seek(start)
            raise
        return len(data)

    def tell(self) -> int:
        """Where the next byte goes."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the file."""
        return self._file.seek(offset, whence)

    def flush(self) -> None:
        """Nothing waits to be written."""

    def keep(self) -> Path:
        """Put the file on the disk and give it its name, which is returned."""
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.rename(self._path)
        return self._path

    def discard(self) -> None:
        """Remove it."""
        self._file.close()
        self._partial.unlink(missing_ok=True)
