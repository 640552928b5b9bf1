// One node of a service that runs on several: @hocuspocus/server with @hocuspocus/extension-redis, and the routes of
// PROTOCOL §2 to §5 beside /ws on one port. All that nodes share is in Redis, which is their database too: every node
// can be killed at any time, and any node answers any call.
//
// start {redis, heap, key} -> {port}   redis: path of its socket; heap: {id, title}; key: what the instance presents
// stats -> {calls, sockets, followed}  calls by route; WebSockets ever opened; documents open for somebody on one now
import { Redis } from 'redis4';
import { Hocuspocus, Server } from 'server4';
import IORedis from 'ioredis';
import * as Y from 'yjs';

import { textOf } from './headless.mjs';
import { base64, bytes, serve } from './lines.mjs';

const TOKEN = 'T';
const stats = { calls: {}, sockets: 0 };
let db, hub, heap, key;

// The clock of the feed is Redis' own, and each change has a millisecond of its own: a change is never announced
// behind a timestamp that some node has already told.
const CLOCK = `local t = redis.call('TIME')
local now = math.max(t[1] * 1000 + math.floor(t[2] / 1000), tonumber(redis.call('GET', 'clock') or '0'))`;
const SCRIPTS = {
  // An update that is known already changes nothing.
  change: `${CLOCK} + 1
if redis.call('SADD', 'log:' .. ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('SET', 'clock', string.format('%d', now))
redis.call('ZADD', 'changed', string.format('%d', now), ARGV[1])
return 1`,
  feed: `${CLOCK}
return { redis.call('ZRANGEBYSCORE', 'changed', ARGV[1], '+inf', 'WITHSCORES'), string.format('%d', now) }`,
};

const nameOf = id => `${heap.id}:${id}:v1`;
const idOf = documentName => /^([^:]+):([^:]+):v1$/.exec(documentName)?.[2];
const keep = (id, update) => db.change(id, Buffer.from(update));

async function read(id) {
  const doc = new Y.Doc();
  const log = await db.smembersBuffer(`log:${id}`);
  doc.transact(() => { for (const update of log) Y.applyUpdate(doc, update); });
  return doc;
}

async function rowOf(id) {
  const { type, title } = await db.hgetall(`row:${id}`);
  if (!type) return null;
  const doc = await read(id);
  const deleted_at = doc.getMap('meta_v0').get('deleted_at') ?? null;
  return { id, workspace_id: heap.id, type, title: textOf(doc.getXmlFragment('title_v0')) || title, sync_version: 1, deleted_at };
}

class Refused extends Error {
  constructor(status, error) { super(error); this.status = status; }
}

const ROUTES = {
  'GET /api/': () => ({ status: 'ok', public_key: key }),
  // Every key is let in: signing in is tried elsewhere.
  'POST /api/auth/create_session': () => ({ challenge: `sign in ${Date.now()}` }),
  'POST /api/auth/verify_session': () => ({ accessToken: TOKEN, user: { id: 'u' } }),
  'POST /api/heaps': () => ({ heaps: [heap] }),
  'POST /api/query_blocks': async ({ offset, limit }) => {
    const ids = (await db.zrange('changed', 0, -1)).sort();
    const rows = await Promise.all(ids.slice(offset, offset + limit).map(rowOf));
    return { blocks: rows, total: ids.length };
  },
  'POST /api/block': async (_, id) => {
    const block = await rowOf(id);
    if (block === null) throw new Refused(404, 'unknown block');
    return { block };
  },
  'POST /api/insert_block': async ({ id, type, title = '' }) => {
    await db.hset(`row:${id}`, { type, title });
    await keep(id, Y.encodeStateAsUpdate(new Y.Doc()));
    return { block: await rowOf(id) };
  },
  'GET /api/sync/delta': async ({ since }) => {
    const [listed, timestamp] = await db.feed(since);
    const answer = { blocks: [], deleted: [], timestamp: Number(timestamp), has_more: false };
    for (let k = 0; k < listed.length; k += 2) {
      const { deleted_at } = await rowOf(listed[k]);
      if (deleted_at === null) answer.blocks.push({ id: listed[k], updated_at: Number(listed[k + 1]), sync_version: 1 });
      else answer.deleted.push({ id: listed[k], deleted_at });
    }
    return answer;
  },
  'POST /api/sync/pull': async ({ blocks: asks }) => {
    const answer = { blocks: [], missing: [] };
    for (const { id, state_vector } of asks) {
      if (!(await db.exists(`row:${id}`))) { answer.missing.push(id); continue; }
      const update = Y.encodeStateAsUpdate(await read(id), state_vector && bytes(state_vector));
      answer.blocks.push({ id, sync_version: 1, update: base64(update), full: !state_vector });
    }
    return answer;
  },
  'POST /api/sync/push': async ({ updates }) => ({ results: await Promise.all(updates.map(pushed)) }),
};

async function pushed({ block_id, update }) {
  if (!(await db.exists(`row:${block_id}`))) return { block_id, status: 'not_found', sync_version: 1 };
  await keep(block_id, bytes(update));
  tell(block_id).catch(error => console.error(error));
  return { block_id, status: 'ok', sync_version: 1 };
}

/** Passes on to all who follow a document, here and through the extension at the other nodes, what is kept of it. */
async function tell(id) {
  const direct = await hub.openDirectConnection(nameOf(id), {});
  // All of it: a node may have died after it had kept something and before it had told of it.
  const kept = Y.encodeStateAsUpdate(await read(id));
  await direct.transact(document => Y.applyUpdate(document, kept));
  await direct.disconnect();
}

async function answer(request, response) {
  const url = new URL(request.url, 'http://node');
  const [, path, id] = /^(.*?)(?:\/([0-9A-Z]{26}))?$/.exec(url.pathname);
  const name = `${request.method} ${path}`;
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const send = (status, value) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
  try {
    if (!Object.hasOwn(ROUTES, name)) throw new Refused(404, `no route ${name}`);
    stats.calls[name] = (stats.calls[name] ?? 0) + 1;
    const isOpen = /\/api\/(auth\/.*)?$/.test(path);
    if (!isOpen && request.headers.authorization !== `Bearer ${TOKEN}`) throw new Refused(401, 'not signed in');
    const said = chunks.length ? JSON.parse(Buffer.concat(chunks)) : Object.fromEntries(url.searchParams);
    send(200, await ROUTES[name](said, id));
  } catch (error) {
    if (!error.status) console.error(error);
    send(error.status ?? 500, { error: String(error.message) });
  }
}

const hooks = {
  quiet: true,
  address: '127.0.0.1',
  port: 0,
  stopOnSignals: false,
  debounce: 0,

  async onRequest({ request, response }) {
    await answer(request, response);
    // An empty rejection is how a hook says that it dealt with the request.
    throw null;
  },

  async onUpgrade() { stats.sockets++; },

  async onAuthenticate({ token, documentName }) {
    const id = idOf(documentName);
    if (token !== TOKEN || !id || !(await db.exists(`row:${id}`))) throw Object.assign(new Error('no'), { reason: 'forbidden' });
  },

  async onLoadDocument({ document, documentName }) {
    const id = idOf(documentName);
    Y.applyUpdate(document, Y.encodeStateAsUpdate(await read(id)));
    document.on('update', (update, origin) => {
      // What another node or a push brought is kept already.
      if (origin?.source === 'connection') keep(id, update).catch(error => console.error(error));
    });
  },
};

serve({
  start: async ({ redis, heap: served, key: presented }) => {
    [heap, key] = [served, presented];
    db = new IORedis(redis);
    for (const [name, lua] of Object.entries(SCRIPTS)) db.defineCommand(name, { numberOfKeys: 0, lua });
    const shared = new Redis({ createClient: () => new IORedis(redis), disconnectDelay: 200 });
    const server = new Server({ ...hooks, extensions: [shared] });
    hub = server.hocuspocus;
    await server.listen();
    return { port: server.address.port };
  },

  stats: () => ({ ...stats, followed: [...hub.documents.values()].filter(d => d.connections.size).length }),
});
