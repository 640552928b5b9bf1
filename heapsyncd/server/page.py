"""The page at ``/``: says what answers here, and how to connect. Static; it holds no secrets."""

import base64
import hashlib
from typing import Final

from aiohttp import web

_STYLE: Final = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem }
pre { background: #8881; padding: .75rem 1rem; overflow-x: auto; border-radius: .4rem }
:root { color-scheme: light dark }
"""
_PAGE: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A heapsyncd server</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>A heapsyncd server</h1>
<p>This is a Heaper-compatible server. It keeps heaps of notes, which heapsyncd mirrors to folders
of markdown files. There is nothing to see here in a browser.</p>
<h2>Connect a computer</h2>
<p>Install heapsyncd and run, with the address of this page:</p>
<pre>heapsyncd setup --server ADDRESS</pre>
<p>It shows a public key. The server's owner accepts it on the server's machine:</p>
<pre>heapsyncd server accept KEY</pre>
<p>Then run <code>heapsyncd setup</code> again.</p>
<h2>A new server</h2>
<p>The first computer becomes the owner's. It needs the one-time code that
<code>heapsyncd serve</code> printed when it started:</p>
<pre>heapsyncd setup --server ADDRESS --code CODE</pre>
<h2>A second computer of yours</h2>
<p>Use the same key. Show it on the first with <code>heapsyncd key export</code>, and on the second
run:</p>
<pre>heapsyncd setup --server ADDRESS --import-key</pre>
</body>
</html>
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


async def page(_request: web.Request) -> web.StreamResponse:
    """``GET /``."""
    return web.Response(text=_PAGE, content_type="text/html", headers=_HEADERS)
