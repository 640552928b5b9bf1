"""Paths by their directories: what is below one is found without looking at all."""


class PathTree:
    """A set of relative paths. Directories need not be members themselves."""

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._inside: dict[str, set[str]] = {}
        """For a directory, its children: paths, and directories that lead to some."""

    def add(self, path: str) -> None:
        """Add a path."""
        self._paths.add(path)
        while path:
            directory = path.rpartition("/")[0]
            inside = self._inside.setdefault(directory, set())
            if path in inside:
                return
            inside.add(path)
            path = directory

    def drop(self, path: str) -> None:
        """Remove a path; what is below it stays."""
        self._paths.discard(path)
        while path and path not in self._paths and not self._inside.get(path):
            self._inside.pop(path, None)
            directory = path.rpartition("/")[0]
            self._inside.get(directory, set()).discard(path)
            path = directory

    def below(self, path: str) -> list[str]:
        """Return the paths below a directory at any depth, sorted; of the directory '', all."""
        found, left = [], [path]
        while left:
            inside = self._inside.get(left.pop(), ())
            found += [p for p in inside if p in self._paths]
            left += inside
        return sorted(found)
