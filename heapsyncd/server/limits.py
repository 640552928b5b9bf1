"""Hold every number that bounds something, in one frozen value, so that tests can change one."""

from msgspec import Struct

MIB = 1024 * 1024


class Limits(Struct, frozen=True):
    """The embedded server's bounds. The contract's own are in ``heapsyncd/wire/PROTOCOL.md``."""

    access_ttl_s: int = 15 * 60
    refresh_ttl_s: int = 60 * 24 * 3600
    challenge_ttl_s: int = 60
    challenges: int = 1_000
    """Challenges that wait for their signature, of all addresses. The oldest of the address with
    most of them is dropped first.
    """
    sessions: int = 1_000
    """Sign-ins kept of one account; the one that expires first is dropped first."""
    auth_bytes: int = 64 * 1024
    """A body that is sent before signing in."""
    list_s: float = 1.0
    """How often the ``accounts`` file is reloaded."""
    connections: int = 2_000
    """Connections at once; fewer if the process may open fewer files."""
    connections_per_address: int = 256
    request_s: float = 30.0
    """Until a request's head, or a small body, is complete; and until an idle connection is
    closed.
    """
    body_rate: int = 16 * 1024
    """Bytes a second at which a larger body must arrive, beyond ``request_s``."""
    auth_calls: int = 30
    """Calls of ``/api/auth/*`` that an address may make in ``auth_window_s`` (PROTOCOL §3)."""
    auth_window_s: float = 10.0
    body_bytes: int = MIB
    """A JSON body, unless specified otherwise."""
    delta_rows: int = 1_000
    pull_request_bytes: int = 8 * MIB
    pull_asks: int = 50_000
    pull_blocks: int = 200
    pull_bytes: int = 8 * MIB
    push_updates: int = 200
    push_bytes: int = 8 * MIB
    query_rows: int = 1_000
    replicas: int = 256
    """Documents kept loaded; the others are in SQLite (a loaded one takes about 50 kB)."""
    log_updates: int = 64
    """Updates that a block's log may hold before it is merged into the block's state."""
    log_bytes: int = 256 * 1024
    frame_bytes: int = 64 * MIB
    """One WebSocket message; what is too large to push over HTTP is sent so (PROTOCOL §5)."""
    unsigned_bytes: int = 320 * 1024
    """What a socket may send unread before its first valid token: one read of the loop, and a
    state vector.
    """
    unsigned_sockets: int = 32
    """Sockets of one address on which nobody has signed in yet."""
    unsigned_names: int = 100
    """Documents that may be refused on a socket before its first valid token."""
    name_chars: int = 128
    """The length of a document's name in a message."""
    vector_bytes: int = 64 * 1024
    """A longer state vector is ignored: the whole document is sent."""
    waiting_updates: int = 100
    """Pending updates of one document; a further one is refused."""
    large_bytes: int = 64 * 1024
    """A larger document is handled in another process, so that the loop stays free."""
    large_s: int = 60
    """The processor time that one piece of that work may take."""
    large_memory_bytes: int = 4 * 1024 * MIB
    """The memory that the process may map."""
    unsent_bytes: int = 16 * MIB
    """What may wait for a slow socket before we stop reading from it."""
    unsent_max_bytes: int = 96 * MIB
    """What may wait for a slow socket before it is aborted; enough for one largest message."""
    waiting_documents: int = 100
    """Documents of one socket for which messages but no Auth arrived (PROTOCOL §6)."""
    waiting_messages: int = 1_000
    waiting_bytes: int = 5 * MIB
    documents_per_socket: int = 50_000
    awareness_states: int = 256
    """Presence states of one document."""
    awareness_state_bytes: int = 16 * 1024
    awareness_room_bytes: int = 256 * 1024
    """All presence of one document, and a message about it."""
    awareness_socket_bytes: int = 256 * 1024
    """All presence that one socket sent."""
    awareness_total_bytes: int = 16 * MIB
    ping_s: float = 30.0
    """A socket that does not answer a WebSocket ping within half of this is dead."""
    idle_s: float = 60.0
    """A socket without any authenticated document is closed after this."""
    chunk_bytes: int = 4 * MIB
    chunk_max_bytes: int = 64 * MIB
    chunks: int = 10_000
    file_bytes: int = 64 * 1024 * MIB
    quota_bytes: int | None = None
    """The bytes of all contents together; None: what the disk has."""
    disk_reserve_bytes: int = 64 * MIB
    """Free space that an upload must leave on the disk."""
    uploads: int = 1_000
    """Uploads in progress."""
    upload_reserved_s: int = 24 * 3600
    """How long space is reserved for an upload that nobody continues."""
    upload_ttl_s: int = 7 * 24 * 3600
    """How long an upload that nobody continues is kept."""
