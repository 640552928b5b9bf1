// A real @hocuspocus/server, version 2, 3 or 4, with documents in memory and a check of the token.
//
// start {major, tokens, port?, timeoutMs?} -> {port, version}
// put {name, update, access?}            make a document known (access: rw, ro or none)
// edit {name, update}                    apply an update as the server itself would
// forget {name}                          the document is refused from now on
// read {name} -> {state, connections}
// wait {name, update, ms?}               until the document holds everything in the update
// close {name}                           send its followers away
// drop {code?} -> {dropped}              end every socket: with a close code, or by cutting the connection
// stop · start                           the server is gone; it comes back with its documents
// stats -> {sockets, messages, types, waiting, widest, refused}   `widest`: most documents of one socket ever awaiting sign-in
//
// Events: socket {n} for every connection, heard {type} for every message.
import { createRequire } from 'node:module';

import * as Y from 'yjs';

import { base64, bytes, emit, serve, until } from './lines.mjs';

const known = new Map();
const listeners = new Map();
const sockets = new Set();
const stats = { sockets: 0, messages: 0, types: {}, refused: 0, widest: 0 };
const waiting = new Map();
let tokens = new Set();
let running = null;

const refuse = reason => { stats.refused++; throw Object.assign(new Error(reason), { reason }); };

/** Reads a varString's length and skips it: the byte after the document's name is the message's type. */
function typeOf(message) {
  let length = 0;
  let at = 0;
  for (let shift = 0; ; shift += 7) {
    length |= (message[at] & 0x7f) << shift;
    if (message[at++] < 0x80) break;
  }
  return message[at + length];
}

const hooks = {
  quiet: true,
  port: 0,
  address: '127.0.0.1',
  stopOnSignals: false,
  debounce: 0,

  async onUpgrade({ request, socket }) {
    if (request.url.split('?')[0] === '/ws') return;
    socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n');
    // An empty rejection is how a hook says that it dealt with the request.
    throw null;
  },

  async onConnect({ socketId }) {
    waiting.set(socketId, (waiting.get(socketId) ?? 0) + 1);
    stats.widest = Math.max(stats.widest, waiting.get(socketId));
  },

  async onAuthenticate({ token, documentName, socketId, connectionConfig, connection }) {
    // Answers take a moment, as behind a database: so a client without a window piles up documents.
    await new Promise(resolve => setTimeout(resolve, 2));
    waiting.set(socketId, waiting.get(socketId) - 1);
    if (!tokens.has(token)) refuse('unauthorized');
    const entry = known.get(documentName);
    if (!entry || entry.access === 'none') refuse('forbidden');
    if (entry.access === 'ro') (connectionConfig ?? connection).readOnly = true;
  },

  async onLoadDocument({ document, documentName }) {
    const entry = known.get(documentName);
    Y.applyUpdate(document, entry.state);
    document.on('update', () => {
      entry.state = Y.encodeStateAsUpdate(document);
      for (const again of listeners.get(documentName) ?? []) again();
    });
  },

  async beforeHandleMessage({ update }) {
    stats.messages++;
    const type = typeOf(update);
    stats.types[type] = (stats.types[type] ?? 0) + 1;
    emit('heard', { type });
  },
};

async function listen({ major, port, timeoutMs }) {
  const lib = await import(`server${major}`);
  const options = { ...hooks, port: port ?? 0, ...(timeoutMs ? { timeout: timeoutMs } : {}) };
  // Up to version 2 the hub is its own server.
  const server = major === 2 ? new lib.Hocuspocus(options) : new lib.Server(options);
  const hub = major === 2 ? server : server.hocuspocus;
  const ready = server.listen();
  const http = () => (major === 2 ? server.server.httpServer : server.httpServer);
  http().on('connection', socket => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    emit('socket', { n: ++stats.sockets });
  });
  await ready;
  return { major, hub, http: http(), port: http().address().port };
}

function holds(name, update) {
  const probe = new Y.Doc();
  Y.applyUpdate(probe, known.get(name).state);
  let news = false;
  probe.on('update', () => { news = true; });
  Y.applyUpdate(probe, update);
  return !news;
}

function drop(code) {
  const dropped = sockets.size;
  if (code === undefined) for (const socket of sockets) socket.destroy();
  else for (const document of running.hub.documents.values()) for (const connection of document.getConnections()) connection.webSocket.close(code, 'dropped');
  return dropped;
}

serve({
  start: async ({ major, tokens: accepted, port, timeoutMs }) => {
    tokens = new Set(accepted ?? tokens);
    running = await listen({ major: major ?? running.major, port: port ?? running?.port, timeoutMs });
    const path = createRequire(import.meta.url).resolve(`server${running.major}`).replace(/dist\/.*/, 'package.json');
    const { default: { version } } = await import(path, { with: { type: 'json' } });
    return { port: running.port, version };
  },

  stop: async () => {
    drop();
    await new Promise(resolve => running.http.close(resolve));
    return {};
  },

  put: ({ name, update, access = 'rw' }) => {
    known.set(name, { state: bytes(update), access });
    return {};
  },

  edit: async ({ name, update }) => {
    const direct = await running.hub.openDirectConnection(name, {});
    await direct.transact(document => Y.applyUpdate(document, bytes(update), 'server'));
    await direct.disconnect();
    return {};
  },

  forget: ({ name }) => { known.get(name).access = 'none'; return {}; },

  allow: ({ tokens: accepted }) => { tokens = new Set(accepted); return {}; },

  read: ({ name }) => ({
    state: base64(known.get(name).state),
    connections: running.hub.documents.get(name)?.getConnectionsCount() ?? 0,
  }),

  wait: async ({ name, update, ms = 10000 }) => {
    const wanted = bytes(update);
    const listen = again => {
      if (!listeners.has(name)) listeners.set(name, new Set());
      listeners.get(name).add(again);
      return () => listeners.get(name).delete(again);
    };
    await until(() => holds(name, wanted), listen, ms, `${name} holds the update`);
    return {};
  },

  close: ({ name }) => { running.hub.closeConnections(name); return {}; },

  drop: ({ code }) => ({ dropped: drop(code) }),

  stats: () => ({ ...stats }),
});
