// People at their editors: Tiptap documents bound by y-prosemirror, followed through the real @hocuspocus/provider.
//
// connect {socket, url, major}                   one WebSocket; url is the whole ws:// address
// open {doc, socket, name, token, bound?, trailing?, session?, images?}   follow a document; `bound`: with an editor on
//                                                it (default); `session`: under a name of this editor's own (4 only)
// edit {doc, edits} -> {applied: [bool, ...]}    see edits.mjs
// title {doc, text} · apply {doc, update}        write the title · apply raw Yjs bytes, both as local changes
// read {doc} -> status
// present {doc, who}                             say in awareness who sits here
// wait {doc, for, text?, update?, who?, ms?} -> status    for: a condition below
// leave {doc} · pause {socket} · resume {socket} · disconnect {socket}
//
// Events: denied, closed. status: {synced, saved, denied, closed, scope, repairs, text, title, json, state}; `repairs`
// counts what the editor itself changed on seeing someone else's change: it deletes what it can't show.
import WebSocket from 'ws';
import { ySyncPluginKey } from 'y-prosemirror';
import * as Y from 'yjs';

import { carryOut, selectAll } from './edits.mjs';
import { HeadlessEditor, textOf } from './headless.mjs';
import { base64, bytes, emit, serve, until } from './lines.mjs';

const sockets = new Map();
const followed = new Map();

class Followed {
  constructor(doc, { socket, name, token, bound = true, trailing = false, session = false, images }) {
    const { lib, major, link } = sockets.get(socket);
    this.doc = doc;
    this.ydoc = new Y.Doc();
    this.repairs = 0;
    this.denied = this.closed = null;
    this.listeners = new Set();
    this.busy = false;
    this.ydoc.on('update', (_update, origin) => {
      if (origin === ySyncPluginKey && !this.busy) this.repairs++;
      this.changed();
    });
    if (bound) {
      this.editor = new HeadlessEditor(this.ydoc, { trailing, images });
      this.editor.dispatch(selectAll(this.editor.state.tr));
    }
    this.provider = new lib.HocuspocusProvider({
      websocketProvider: link,
      name,
      document: this.ydoc,
      token,
      sessionAwareness: session,
      // Version 2 also talks to itself between tabs, past the server.
      broadcast: false,
      onAwarenessChange: () => this.changed(),
      onSynced: () => this.changed(),
      onAuthenticated: () => { this.denied = null; this.changed(); },
      onAuthenticationFailed: ({ reason }) => { this.tell('denied', reason); },
      onClose: ({ event }) => { this.tell('closed', `${event?.code ?? ''} ${event?.reason ?? ''}`.trim() || 'closed'); },
    });
    // Version 2 has no setting for this one.
    this.provider.on('unsyncedChanges', () => this.changed());
    if (major > 2) this.provider.attach();
  }

  tell(event, reason) {
    this[event] = reason;
    emit(event, { doc: this.doc, reason });
    this.changed();
  }

  changed() {
    for (const listener of this.listeners) listener();
  }

  /** Local changes: what the editor writes meanwhile is the person's doing. */
  locally(act) {
    this.busy = true;
    try { return act(); } finally { this.busy = false; }
  }

  get text() {
    return textOf(this.ydoc.getXmlFragment('content_v0'));
  }

  /** Names of all who are present, awareness being what it is about. */
  get present() {
    return [...this.provider.awareness.getStates().values()].map(state => state.who);
  }

  status() {
    const { provider, ydoc, editor } = this;
    return {
      synced: provider.synced,
      saved: provider.synced && !provider.hasUnsyncedChanges,
      denied: this.denied,
      closed: this.closed,
      scope: provider.authorizedScope ?? null,
      repairs: this.repairs,
      text: this.text,
      title: textOf(ydoc.getXmlFragment('title_v0')),
      json: editor?.state.doc.toJSON() ?? null,
      state: base64(Y.encodeStateAsUpdate(ydoc)),
    };
  }

  /** Whether everything in `update` is here. */
  holds(update) {
    const probe = new Y.Doc();
    Y.applyUpdate(probe, Y.encodeStateAsUpdate(this.ydoc));
    let news = false;
    probe.on('update', () => { news = true; });
    Y.applyUpdate(probe, bytes(update));
    return !news;
  }

  leave() {
    this.editor?.destroy();
    this.provider.destroy();
  }
}

const CONDITIONS = {
  synced: doc => doc.provider.synced,
  saved: doc => doc.provider.synced && !doc.provider.hasUnsyncedChanges,
  text: (doc, { text }) => doc.text.includes(text),
  gone: (doc, { text }) => !doc.text.includes(text),
  denied: doc => doc.denied !== null,
  closed: doc => doc.closed !== null,
  holds: (doc, { update }) => doc.holds(update),
  meets: (doc, { who }) => doc.present.includes(who),
  misses: (doc, { who }) => !doc.present.includes(who),
};

function find(doc) {
  if (!followed.has(doc)) throw new Error(`no document ${doc} is open`);
  return followed.get(doc);
}

// As a browser would: what a library throws at a message it does not know is reported, and life goes on.
process.on('uncaughtException', error => console.error(error));

serve({
  connect: async ({ socket, url, major }) => {
    const lib = await import(`provider${major}`);
    // Impatient, so that tests of a lost link are short.
    const link = new lib.HocuspocusProviderWebsocket({ url, WebSocketPolyfill: WebSocket, delay: 100, minDelay: 50, maxDelay: 400 });
    sockets.set(socket, { lib, major, link });
    return {};
  },

  open: ({ doc, ...options }) => {
    followed.set(doc, new Followed(doc, options));
    return {};
  },

  edit: ({ doc, edits }) => {
    const { editor } = find(doc);
    return { applied: edits.map(edit => find(doc).locally(() => carryOut(editor, edit))) };
  },

  title: ({ doc, text }) => find(doc).locally(() => {
    const { ydoc } = find(doc);
    ydoc.transact(() => {
      const title = ydoc.getXmlFragment('title_v0');
      title.delete(0, title.length);
      const paragraph = new Y.XmlElement('paragraph');
      paragraph.insert(0, [new Y.XmlText(text)]);
      title.insert(0, [paragraph]);
    });
    return {};
  }),

  apply: ({ doc, update }) => find(doc).locally(() => {
    Y.applyUpdate(find(doc).ydoc, bytes(update), 'test');
    return {};
  }),

  present: ({ doc, who }) => {
    find(doc).provider.setAwarenessField('who', who);
    return {};
  },

  read: ({ doc }) => find(doc).status(),

  wait: async ({ doc, for: condition, ms = 10000, ...rest }) => {
    const target = find(doc);
    const listen = again => { target.listeners.add(again); return () => target.listeners.delete(again); };
    const what = `${condition} ${JSON.stringify(rest).slice(0, 200)} in ${doc}, which says ${JSON.stringify(target.text).slice(0, 500)}`;
    await until(() => CONDITIONS[condition](target, rest), listen, ms, what);
    return target.status();
  },

  leave: ({ doc }) => {
    find(doc).leave();
    followed.delete(doc);
    return {};
  },

  pause: async ({ socket }) => {
    const { link } = sockets.get(socket);
    link.disconnect();
    // Version 2 takes a call to connect for nothing while the old socket is closing.
    const listen = again => { link.on('status', again); return () => link.off('status', again); };
    await until(() => link.status === 'disconnected', listen, 5000, 'the socket is closed');
    return {};
  },

  resume: async ({ socket }) => { await sockets.get(socket).link.connect(); return {}; },

  disconnect: ({ socket }) => {
    sockets.get(socket).link.destroy();
    sockets.delete(socket);
    return {};
  },
});
