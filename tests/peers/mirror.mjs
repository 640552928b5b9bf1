// A mirror as anybody would write it with @hocuspocus/provider: one provider a document, its text in a file, which is
// written beside and renamed, without waiting for the disk. And npm's own server for it, with everything in memory.
//
// serve {documents} -> {port}             documents: a file of lines of JSON, {name, update}
// mirror {port, documents, folder} -> {}  when every file is there; it goes on following
import fs from 'node:fs';
import path from 'node:path';

import { HocuspocusProvider, HocuspocusProviderWebsocket } from 'provider4';
import { Server } from 'server4';
import WebSocket from 'ws';
import * as Y from 'yjs';

import { textOf } from './headless.mjs';
import { bytes, serve } from './lines.mjs';

// The server closes a socket with more than 100 documents that await their sign-in.
const WINDOW = 90;

const read = file => fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map(line => JSON.parse(line));

function write(folder, name, document) {
  const file = path.join(folder, name);
  const blocks = document.getXmlFragment('content_v0').toArray();
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(`${file}.new`, blocks.map(block => textOf({ toArray: () => [block] })).join('\n\n'));
  fs.renameSync(`${file}.new`, file);
}

serve({
  serve: async ({ documents }) => {
    const updates = new Map(read(documents).map(({ name, update }) => [name, bytes(update)]));
    const server = new Server({
      quiet: true, address: '127.0.0.1', port: 0, stopOnSignals: false,
      async onAuthenticate() {},
      async onLoadDocument({ document, documentName }) { Y.applyUpdate(document, updates.get(documentName)); },
    });
    await server.listen();
    for (const name of updates.keys()) await server.hocuspocus.openDirectConnection(name, {});
    return { port: server.address.port };
  },

  mirror: async ({ port, documents, folder }) => {
    const names = read(documents).map(({ name }) => name);
    const websocketProvider = new HocuspocusProviderWebsocket({ url: `ws://127.0.0.1:${port}`, WebSocketPolyfill: WebSocket });
    await new Promise(done => {
      let next = 0;
      let left = names.length;
      const open = () => {
        if (next === names.length) return;
        const name = names[next++];
        const document = new Y.Doc();
        let isThere = false;
        const onSynced = () => {
          if (isThere) return;
          isThere = true;
          write(folder, name, document);
          document.on('update', () => write(folder, name, document));
          if (--left === 0) done();
          open();
        };
        new HocuspocusProvider({ websocketProvider, name, document, token: 'T', onSynced }).attach();
      };
      for (let k = 0; k < WINDOW; k++) open();
    });
    return {};
  },
});
