"""Edge: paths as users type them."""

import os
from pathlib import Path


def spellings(path: Path) -> list[str]:
    """Return a path as typed and with symlinks above its last name resolved.

    A symlink above the mirror's folder is fine; one inside it is not followed.
    """
    real = path.parent.resolve() / path.name
    return sorted({os.path.normpath(path.absolute()), str(real)})


def shown(path: str | Path) -> str:
    """Return an absolute path as a shell can use it here: relative if it is below this directory.

    The user may have come here through symlinks.
    """
    path, here = Path(path), Path.cwd()
    typed = Path(os.environ.get("PWD", ""))  # with symlinks; elsewhere if a program changed it
    is_here = typed.is_absolute() and typed.exists() and typed.samefile(here)
    for directory in (typed, here) if is_here else (here,):
        if path.is_relative_to(directory):
            below = str(path.relative_to(directory))
            return f"./{below}" if below.startswith("-") else below
    return str(path)
