// What npm yjs makes of updates, and makes itself when people use it.
//
// relay {sequences: [[update, ...], ...]} -> {answers: [{taken, updates}]}   each sequence applied to a document of its
//                                            own; what it then says: its states, and the events on the way
// session {seed, steps} -> {updates, state}  several people at one document, whose updates arrive late, twice, merged
//                                            and in any order; all that was sent, and what all of them agree on
import * as Y from 'yjs';

import { base64, bytes, serve } from './lines.mjs';

function relayed(updates) {
  const doc = new Y.Doc();
  const said = [];
  doc.on('update', update => said.push(update));
  let taken = true;
  for (const update of updates) {
    try { Y.applyUpdate(doc, update); } catch { taken = false; }
  }
  const ask = make => { try { said.push(make()); } catch { taken = false; } };
  ask(() => Y.encodeStateAsUpdate(doc));
  ask(() => Y.mergeUpdates(updates));
  ask(() => Y.diffUpdate(Y.encodeStateAsUpdate(doc), Y.encodeStateVector(doc)));
  doc.destroy();
  return { taken, updates: said.map(base64) };
}

/** Random numbers from 0 to below 1 that a seed decides (mulberry32). */
function numbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const WORDS = ['a', 'word ', 'é', '👋🏽', 'line\n', '日本', 'long '.repeat(60)];
const VALUES = [null, true, 1, -70000, 2 ** 40, 0.1, 'x', [1, [2, {}]], { a: { b: [null] } }, new Uint8Array([1, 2])];

function act(doc, random) {
  const any = list => list[Math.floor(random() * list.length)];
  const below = n => Math.floor(random() * n);
  const text = doc.getText('text'), map = doc.getMap('map'), list = doc.getArray('list');
  const body = doc.getXmlFragment('content_v0');
  const element = () => {
    const made = new Y.XmlElement(any(['paragraph', 'heading', 'bulletList']));
    made.setAttribute('level', any(VALUES.slice(0, 6)));
    made.insert(0, [new Y.XmlText(any(WORDS)), new Y.XmlElement('hardBreak')]);
    return made;
  };
  const acts = [
    () => text.insert(below(text.length + 1), any(WORDS), any([undefined, { bold: {} }, { link: { href: 'x' } }])),
    () => text.insert(below(text.length + 1), any(WORDS)),
    () => text.length && text.delete(below(text.length), 1),
    () => text.length && text.format(below(text.length), 1, { italic: any([{}, null, true]) }),
    () => text.insertEmbed(below(text.length + 1), { image: any(VALUES.slice(0, 7)) }),
    () => map.set(any(['k', 'l']), any(VALUES)),
    () => map.set('nested', new Y.Map([['x', new Y.Array()]])),
    () => map.delete(any(['k', 'nested'])),
    () => map.set('doc', new Y.Doc({ guid: 'sub', autoLoad: true })),
    () => list.insert(below(list.length + 1), [any(VALUES), any(VALUES)]),
    () => list.push([new Y.Text('t'), new Y.Map()]),
    () => list.length && list.delete(below(list.length), 1),
    () => body.insert(below(body.length + 1), [element(), element()]),
    () => body.length && body.delete(below(body.length), 1),
    () => body.length && body.get(0) instanceof Y.XmlElement && body.get(0).insert(0, [element()]),
  ];
  doc.transact(() => { for (let k = below(3); k >= 0; k--) any(acts)(); });
}

function session(seed, steps) {
  const random = numbers(seed);
  const below = n => Math.floor(random() * n);
  const docs = [0, 1, 2].map(k => Object.assign(new Y.Doc({ gc: k < 2 }), { clientID: 1000 + k }));
  const sent = [];
  const waiting = docs.map(() => []);
  docs.forEach((doc, k) => doc.on('update', (update, origin) => {
    if (origin === 'remote') return;
    sent.push(update);
    waiting.forEach((queue, other) => { if (other !== k) queue.push(update); });
  }));
  const give = (doc, update) => { sent.push(update); Y.applyUpdate(doc, update, 'remote'); };
  for (let step = 0; step < steps; step++) {
    const k = below(3);
    const queue = waiting[k];
    const how = random();
    if (how < 0.5) act(docs[k], random);
    else if (how < 0.8 && queue.length) give(docs[k], queue.splice(below(queue.length), 1)[0]);
    else if (how < 0.9 && queue.length) give(docs[k], Y.mergeUpdates(queue.splice(0, 1 + below(queue.length))));
    else give(docs[k], Y.encodeStateAsUpdate(docs[below(3)], Y.encodeStateVector(docs[k])));
  }
  for (const from of docs) for (const to of docs) give(to, Y.encodeStateAsUpdate(from, Y.encodeStateVector(to)));
  for (const from of docs) for (const to of docs) give(to, Y.encodeStateAsUpdate(from));
  const state = Y.encodeStateAsUpdate(docs[2]);
  docs.forEach(doc => doc.destroy());
  return { updates: sent.map(base64), state: base64(state) };
}

serve({
  relay: ({ sequences }) => ({ answers: sequences.map(updates => relayed(updates.map(bytes))) }),
  session: ({ seed, steps }) => session(seed, steps),
});
