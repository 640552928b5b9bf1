"""``completion``: a shell completes commands, options, and the names of heaps."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.cli.devices import Device


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_the_program(device: Device, shell: str) -> None:
    """It needs no configuration."""
    done = device.here("completion", shell)
    assert done.code == 0
    assert f"_HEAPSYNCD_COMPLETE={shell}_complete" in done.out


async def test_bash_completes(library: Device) -> None:
    """With the script, in the way in which bash calls it."""

    async def completed(*words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in ("heapsyncd", *words))
        process = await asyncio.create_subprocess_exec(
            "bash", "-c",
            f'eval "$(heapsyncd completion bash)"; COMP_WORDS=({line}); COMP_CWORD={len(words)};'
            ' _heapsyncd_completion heapsyncd; printf "%s\\n" "${COMPREPLY[@]}"',
            env={**library.env, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return (await process.communicate())[0].decode().split()

    assert await completed("back") == ["backlinks"]
    config = ("--config", str(library.config))
    assert await completed(*config, "search", "--heap", "w") == ["Work"]
