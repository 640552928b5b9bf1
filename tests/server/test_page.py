"""The page at ``/``."""

import base64
import hashlib
import re

from tests.server.rig import Client


async def test_the_page_says_how_to_connect(client: Client) -> None:
    """Anybody gets it. It is static: no script, nothing from elsewhere, and its policy allows its
    own style alone.
    """
    async with client.http.get(f"{client.url}/") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        policy, text = answer.headers["Content-Security-Policy"], await answer.text()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "heapsyncd setup --server" in text
    assert "heapsyncd server accept" in text
    assert not re.search(r"<(script|img|link|form|iframe)|https?://| (on\w+|style)=", text)
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
    assert style
    allowed = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{allowed}';")
    async with client.http.head(f"{client.url}/") as answer:
        assert answer.status == 200
