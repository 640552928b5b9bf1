"""The demo's heap."""

from heapsyncd.document.xml import nodes
from heapsyncd.document.xml.content_model import violations
from heapsyncd.ids import BlockId
from heapsyncd.server import Server
from heapsyncd.server.sample import TITLES, plant
from tests.server.rig import Client


async def test_sample(client: Client, server: Server) -> None:
    """The sample has folders, tags, notes and files, all of which an editor accepts and whose
    files can be fetched.
    """
    heap = await plant(server)
    body = {"workspace_id": heap, "limit": 100, "offset": 0}
    rows = (await client.post("/api/query_blocks", body))["blocks"]
    assert {row["title"] for row in rows} == set(TITLES)
    kinds = {row["id"]: row["type"] for row in rows}
    assert set(kinds.values()) == {"document", "folder", "tag", "file"}
    seen = set()
    for row in rows:
        replica = await server.document(BlockId(row["id"]))
        fields = replica.fields()
        assert fields.title == row["title"]
        assert {kinds[tag] for tag in fields.tags} <= {"folder", "tag"}
        assert violations(nodes.read(replica.doc, nodes.BODY)) == []
        seen |= {block.kind for block in replica.view().walk()}
        for file in fields.files:
            path = f"/api/file/{heap}/{row['id']}/{file.hash}"
            status, content = await client.ask("GET", path)
            assert (status, len(content)) == (200, file.size_bytes)
    assert {"heading", "code", "quote", "todo_list", "table", "files", "rule"} <= seen
    assert "opaque" not in seen
