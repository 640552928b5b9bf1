"""The state machine of one socket: rows of single behaviours, then a random life with a server."""

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from heapsyncd.errors import ProtocolError, Unreachable
from heapsyncd.ids import BlockId, HeapId, Token
from heapsyncd.wire import hocuspocus as hp
from heapsyncd.wire.announcements import Announcements
from heapsyncd.wire.following import Following
from heapsyncd.wire.lib0 import var_string
from heapsyncd.wire.live import EMPTY_UPDATE, HOPELESS_S, REST_S, WINDOW, LiveLink
from heapsyncd.wire.pulse import DEAD_S, KEEP_ALIVE_S, QUIET_S
from heapsyncd.wire.scalars import document_name
from heapsyncd.wire.values import (
    LiveAnnounced,
    LiveAsked,
    LiveEvent,
    LiveLost,
    LiveSynced,
    LiveUpdate,
)

HEAP = HeapId("01J8XYZ0ABCDEFGHJKMNPQRST0")
BLOCKS = [BlockId(f"01J8XYZ0ABCDEFGHJKMNPQ{n:04}") for n in range(400)]
A, B = BLOCKS[:2]
TOKEN = Token("t")


def name(block: BlockId, version: int = 1) -> str:
    return document_name(HEAP, block, version)


def sent(link: LiveLink) -> list[hp.Frame]:
    return [hp.decode(data) for data in link.outgoing()]


def opened(*blocks: BlockId, now_s: float = 0.0) -> LiveLink:
    """A link on which the blocks are authenticated."""
    link = LiveLink(HEAP, now_s)
    for block in blocks:
        link.queue(block)
    for block in link.batch():
        link.open(block, 1, b"\0", TOKEN, now_s)
    for block in blocks:
        link.receive(hp.encode(name(block), hp.Authenticated("read-write")), now_s)
    link.outgoing()
    return link


def say(
    link: LiveLink, block: BlockId, message: hp.Message, now_s: float = 0.0
) -> list[LiveEvent]:
    return link.receive(hp.encode(name(block), message), now_s)


def test_a_document_is_opened_with_token_and_state_vector() -> None:
    """Auth and SyncStep1 go out together, without waiting."""
    link = LiveLink(HEAP, 0)
    link.queue(A)
    assert link.batch() == [A]
    link.open(A, 3, b"\1\2", TOKEN, 0)
    assert sent(link) == [
        hp.Frame(name(A, 3), hp.Auth(TOKEN)),
        hp.Frame(name(A, 3), hp.SyncStep1(b"\1\2")),
    ]


def test_at_most_a_window_awaits_sign_in() -> None:
    """No more than 50 documents are handed out until half of them are authenticated."""
    link = LiveLink(HEAP, 0)
    for block in BLOCKS:
        link.queue(block)
    first = link.batch()
    assert len(first) == WINDOW
    assert link.batch() == []
    for block in first:
        link.open(block, 1, b"\0", TOKEN, 0)
    for block in first[: WINDOW // 2 - 1]:
        say(link, block, hp.Authenticated("read-write"))
    assert link.batch() == []
    say(link, first[-1], hp.Authenticated("read-write"))
    assert len(link.batch()) == WINDOW // 2


@pytest.mark.parametrize(
    ("message", "events"),
    [
        (hp.SyncStep1(b"\5"), [LiveAsked(A, 1, b"\5")]),
        (hp.SyncStep1(b"\5", reply=True), [LiveAsked(A, 1, b"\5")]),
        (hp.SyncStep2(b"\1u"), [LiveUpdate(A, 1, b"\1u"), LiveSynced(A)]),
        (hp.SyncStep2(EMPTY_UPDATE), [LiveSynced(A)]),
        (hp.Update(b"\1u"), [LiveUpdate(A, 1, b"\1u")]),
        (hp.Update(b"\1u", reply=True), [LiveUpdate(A, 1, b"\1u")]),
        (hp.Close("reset"), [LiveLost(A, "closed", "reset")]),
        (hp.PermissionDenied("no"), [LiveLost(A, "denied", "no")]),
        (hp.Awareness(b"x"), []),
        (hp.Awareness(Announcements().announce()), [LiveAnnounced()]),
        (hp.SyncStatus(saved=True), []),
        (hp.Stateless("x"), []),
        (hp.Ping(), []),
        (hp.Unknown(42, b"?"), []),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
def test_messages_become_events(message: hp.Message, events: list[LiveEvent]) -> None:
    """What the server says of an open document, as the reader sees it."""
    assert say(opened(A), A, message) == events


def test_messages_of_unknown_documents_are_ignored() -> None:
    """A late message of a document that was left says nothing."""
    assert say(opened(A), B, hp.Update(b"\1u")) == []


def test_announcements_go_to_open_documents_only() -> None:
    """They are awareness messages; nothing is sent for what the server did not let us open."""
    link = opened(A)
    link.queue(B)
    link.open(link.batch()[0], 1, b"\0", TOKEN, 0)
    link.outgoing()
    assert (link.is_open(A), link.is_open(B)) == (True, False)
    for block in (A, B, BLOCKS[2]):
        link.announce(block, 0)
    ((document, announced),) = [(frame.document, frame.message) for frame in sent(link)]
    assert document == name(A)
    assert isinstance(announced, hp.Awareness)
    assert Announcements().is_news(announced.update)
    assert say(link, A, announced) == []


def test_answers_go_to_open_documents_only() -> None:
    """An answer is a SyncStep2, a change an Update; for a block that is not open neither is
    sent.
    """
    link = opened(A)
    link.answer(A, b"a", 0)
    link.update(A, b"u", 0)
    link.answer(B, b"b", 0)
    assert sent(link) == [
        hp.Frame(name(A), hp.SyncStep2(b"a")),
        hp.Frame(name(A), hp.Update(b"u")),
    ]


def test_a_new_version_closes_the_old_name() -> None:
    """On a change of sync_version the old name is left, the new one opened."""
    link = opened(A)
    link.queue(A)
    link.batch()
    link.open(A, 2, b"\0", TOKEN, 0)
    frames = sent(link)
    assert [frame.document for frame in frames] == [name(A), name(A, 2), name(A, 2)]
    assert isinstance(frames[0].message, hp.Close)


def test_a_denied_name_is_not_tried_again() -> None:
    """Hocuspocus 2 and 3 ignore a second Auth: only another name of the block is opened."""
    link = opened(A, B)
    say(link, A, hp.PermissionDenied("stale"))
    for version, expected in ((1, 0), (2, 2)):
        link.queue(A)
        assert link.batch() == [A]
        link.open(A, version, b"\0", TOKEN, 0)
        assert len(sent(link)) == expected


def test_a_closed_name_is_opened_again_at_once() -> None:
    """A Close concerns the document as it was; the same name may be asked for."""
    link = opened(A, B)
    say(link, A, hp.Close("reset"))
    link.queue(A)
    link.batch()
    link.open(A, 1, b"\0", TOKEN, 0)
    assert len(sent(link)) == 2


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_left_name_rests_before_it_is_opened_again(confirmed: bool) -> None:
    """Auth must not overtake the server's clean-up: wait for its Close, or a while."""
    link = opened(A, B)
    link.leave(A, 0)
    if confirmed:
        say(link, A, hp.Close("provider_initiated"))
    sent(link)
    link.queue(A)
    link.batch()
    link.open(A, 1, b"\0", TOKEN, 0.1)
    assert len(sent(link)) == (2 if confirmed else 0)
    if not confirmed:
        link.tick(REST_S)
        assert link.batch() == [A]
        link.open(A, 1, b"\0", TOKEN, REST_S)
        assert len(sent(link)) == 2


def test_a_block_left_meanwhile_is_not_opened() -> None:
    """Between the question and its answer the reader may have changed its mind."""
    link = LiveLink(HEAP, 0)
    link.queue(A)
    link.batch()
    link.leave(A, 0)
    link.open(A, 1, b"\0", TOKEN, 0)
    assert sent(link) == []


def test_a_malformed_message_costs_its_document() -> None:
    """The document is left and reported; the socket and the others live on."""
    link = opened(A, B)
    events = link.receive(var_string(name(A)) + b"\0\1\xff", 0)
    assert [(e.block, e.reason) for e in events if isinstance(e, LiveLost)] == [(A, "closed")]
    assert say(link, B, hp.Update(b"\1u")) == [LiveUpdate(B, 1, b"\1u")]


def test_a_message_without_a_name_costs_the_socket() -> None:
    """Nothing can be said of whom it concerns."""
    with pytest.raises(ProtocolError):
        opened(A).receive(b"\xff\xff", 0)


def test_a_token_request_is_answered() -> None:
    """Auth without payload asks for a fresh token; only this document gets it, once."""
    link = opened(A, B)
    wanted = [link.wants_token]
    say(link, A, hp.TokenRequest())
    wanted.append(link.wants_token)
    link.renew(Token("fresh"), 0)
    assert sent(link) == [hp.Frame(name(A), hp.Auth(Token("fresh")))]
    assert [*wanted, link.wants_token] == [False, True, False]


def test_silence_is_met_by_keep_alive_ping_and_death() -> None:
    """A message of ours every 25 s, pings when it is quiet, then the end."""
    link = opened(A)
    link.tick(KEEP_ALIVE_S - 1)
    assert sent(link) == []
    link.tick(KEEP_ALIVE_S)
    assert sent(link) == [hp.Frame(name(A), hp.QueryAwareness())]
    assert link.pulse.ping_due(QUIET_S)
    assert not link.pulse.ping_due(QUIET_S + 1)
    assert link.pulse.ping_due(2 * QUIET_S)
    link.tick(DEAD_S - 0.1)
    with pytest.raises(Unreachable, match="silent"):
        link.tick(DEAD_S)


def test_a_pong_keeps_the_link_alive() -> None:
    """Any sign of life counts."""
    link = opened(A)
    link.pulse.heard(DEAD_S - 1)
    link.tick(DEAD_S + 1)


def test_a_reader_that_holds_back_is_not_the_servers_silence() -> None:
    """While the queue is full nothing is read: the link does not die of it."""
    link = opened(A)
    link.listening = False
    link.tick(10 * DEAD_S)


def test_the_next_tick_is_never_later_than_what_is_due() -> None:
    """The runner sleeps until something is due, and no busy loop comes of it."""
    link = opened(A)
    now_s = 0.0
    for _ in range(40):
        wait_s = link.next_tick_s(now_s)
        assert 0.05 <= wait_s <= KEEP_ALIVE_S
        now_s += wait_s
        link.pulse.heard(now_s)
        link.tick(now_s)
        link.pulse.ping_due(now_s)
    assert now_s > 100


def test_a_document_without_any_answer_is_given_up() -> None:
    """The window is not blocked for good by one document the server ignores."""
    link = opened(A)
    link.queue(B)
    link.batch()
    link.open(B, 1, b"\0", TOKEN, 0)
    link.pulse.heard(DEAD_S)
    assert link.tick(DEAD_S) == [LiveLost(B, "denied", "the server did not answer")]


def test_a_server_with_much_to_do_is_waited_for() -> None:
    """As long as it answers for one document after the other, none is given up."""
    link, (answered, late) = LiveLink(HEAP, 0), BLOCKS[:2]
    for block in (answered, late):
        link.queue(block)
    for block in link.batch():
        link.open(block, 1, b"\0", TOKEN, 0)
    say(link, answered, hp.Authenticated("read-write"), DEAD_S - 1)
    assert link.tick(DEAD_S) == []
    link.pulse.heard(2 * DEAD_S - 1)
    lost = LiveLost(late, "denied", "the server did not answer")
    assert link.tick(2 * DEAD_S - 1) == [lost]


def test_a_socket_without_documents_is_left() -> None:
    """A server would close it (4401, 4408): it is left, after a moment for the reader to react."""
    link = opened(A)
    say(link, A, hp.Close("reset"))
    link.tick(0)
    link.tick(HOPELESS_S - 1)
    with pytest.raises(Unreachable):
        link.tick(HOPELESS_S)


def test_a_server_that_denies_everything_is_left() -> None:
    """After a window of refusals and no document the token or the account is to blame."""
    link = LiveLink(HEAP, 0)
    for block in BLOCKS:
        link.queue(block)
    for block in link.batch():
        link.open(block, 1, b"\0", TOKEN, 0)
        say(link, block, hp.PermissionDenied("unauthorized"))
    with pytest.raises(Unreachable, match="denies"):
        link.tick(0)


class Life(RuleBasedStateMachine):
    """A reader that follows and reopens, and a server that answers, closes, compacts and drops."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.wanted: list[BlockId] = []
        self.version = dict.fromkeys(BLOCKS[:80], 1)
        self.following = Following()
        self.link: LiveLink | None = None

    @initialize(closes=st.booleans())
    def start(self, closes: bool) -> None:
        self.confirms_close = closes  # Hocuspocus 2 does not
        self.connect()

    def connect(self) -> None:
        self.link = LiveLink(HEAP, self.now_s)
        self.following.attach(self.link)
        self.inbox: list[hp.Frame] = []
        self.auths: dict[str, int] = {}
        self.server_open: set[str] = set()
        self.server_pending: set[str] = set()
        self.denied: set[str] = set()

    def with_link(self, do: Callable[[LiveLink], object]) -> None:
        assert self.link is not None
        do(self.link)
        for frame in sent(self.link):
            self.inbox.append(frame)
            if isinstance(frame.message, hp.Auth):
                assert frame.document not in self.denied, "a second Auth after a refusal"
                if frame.document not in self.server_open:
                    self.server_pending.add(frame.document)
        assert len(self.server_pending) <= WINDOW

    @rule(blocks=st.sets(st.sampled_from(BLOCKS[:80])))
    def follow(self, blocks: set[BlockId]) -> None:
        self.wanted = sorted(blocks)
        self.with_link(lambda _: self.following.follow(self.wanted, self.now_s))

    @rule(block=st.sampled_from(BLOCKS[:80]))
    def reopen(self, block: BlockId) -> None:
        self.with_link(lambda _: self.following.reopen(block))

    @rule(block=st.sampled_from(BLOCKS[:80]))
    def compact(self, block: BlockId) -> None:
        """The server closes the old name; the reader hears of the new version."""
        old = name(block, self.version[block])
        self.version[block] += 1
        if old in self.server_open:
            self.server_open.discard(old)
            if self.confirms_close:
                self.tell(old, hp.Close("reset"))
        self.reopen(block)

    @rule(block=st.sampled_from(BLOCKS[:80]))
    def absent(self, block: BlockId) -> None:
        self.with_link(lambda _: self.following.absent(block, self.now_s))
        self.reopen(block)

    def tell(self, document: str, message: hp.Message) -> None:
        def do(link: LiveLink) -> None:
            link.receive(hp.encode(document, message), self.now_s)

        self.with_link(do)

    @rule()
    def open_batch(self) -> None:
        def do(link: LiveLink) -> None:
            for block in link.batch():
                link.open(block, self.version[block], b"\0", TOKEN, self.now_s)

        self.with_link(do)

    @rule()
    def serve_one(self) -> None:
        """The server takes the oldest message."""
        if not self.inbox:
            return
        frame = self.inbox.pop(0)
        match frame.message:
            case hp.Auth():
                self.server_pending.discard(frame.document)
                _, block, version = frame.document.split(":")
                if frame.document in self.server_open:
                    return
                if version == f"v{self.version[BlockId(block)]}":
                    self.server_open.add(frame.document)
                    self.tell(frame.document, hp.Authenticated("read-write"))
                else:
                    self.denied.add(frame.document)
                    self.tell(frame.document, hp.PermissionDenied("stale"))
            case hp.SyncStep1() if frame.document in self.server_open:
                self.tell(frame.document, hp.SyncStep2(EMPTY_UPDATE))
            case hp.Close() if frame.document in self.server_open:
                self.server_open.discard(frame.document)
                if self.confirms_close:
                    self.tell(frame.document, hp.Close("left"))

    @rule(seconds=st.floats(0.1, 3))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        assert self.link is not None
        self.link.pulse.heard(self.now_s)
        try:
            self.with_link(lambda link: link.tick(self.now_s))
        except Unreachable:
            self.connect()

    @rule()
    @precondition(lambda self: self.link is not None)
    def drop(self) -> None:
        self.following.detach()
        self.connect()

    @rule()
    def settle(self) -> None:
        """Left alone, all that is wanted is open under its current name, and nothing else."""
        for _ in range(30):
            for _ in range(200):
                self.open_batch()
                if not self.inbox:
                    break
                while self.inbox:
                    self.serve_one()
            self.wait(1.0)
        # A block whose name was denied on this socket waits for the next one, or for a reopen.
        expected = {name(block, self.version[block]) for block in self.wanted}
        assert expected - self.server_open <= self.denied
        assert self.server_open <= expected

    @invariant()
    def window_holds(self) -> None:
        assert len(self.server_pending) <= WINDOW if self.link else True


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
