// Judge documents as an editor would: does it accept them whole, and does typing leave the rest alone?
//
// judge {documents: [[update, ...], ...], images?, json?, state?} -> {verdicts: [verdict, ...]}, verdict:
//   loads       editor updates on load: each one means that the editor deleted or rewrote something
//   error       the editor could not open the document at all
//   violations  what the schema forbids, what is pending or embedded, what a title may not hold
//   text, title all text of the body, of the title
//   empty       texts without a character: an editor leaves them behind, a writer has no reason to
//   typed       for the first and the last textblock, each on a fresh copy: {path, changed, bytes}, `path` the child
//               indexes of the typed-in Yjs element, `changed` the paths of all nodes that differ afterwards
//   json        the ProseMirror document, on request
//   state       the Yjs document while the editor is open, on request
//
// typed {update} -> {update}          the document after a character was typed in the first textblock
// structs {update, root} -> {structs: [[client, clock, length, deleted], ...]}   all that is in a root
import { initProseMirrorDoc } from 'y-prosemirror';
import * as Y from 'yjs';

import { HeadlessEditor, load, textOf } from './headless.mjs';
import { base64, bytes, serve } from './lines.mjs';
import { schemaFor } from './schema.mjs';

/** Path -> what that Yjs node itself is, its identity included: a copy in the same place counts as changed. */
function inventory(fragment) {
  const seen = new Map();
  const visit = (type, path) => {
    const { client, clock } = type._item.id;
    const own = type instanceof Y.XmlText ? type.toDelta() : { name: type.nodeName, attributes: sorted(type.getAttributes()) };
    seen.set(path.join('.'), JSON.stringify([client, clock, own]));
    if (!(type instanceof Y.XmlText)) type.toArray().forEach((child, k) => visit(child, [...path, k]));
  };
  fragment.toArray().forEach((child, k) => visit(child, [k]));
  return seen;
}

const sorted = attributes => Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1));

function differing(before, after) {
  const paths = new Set([...before.keys(), ...after.keys()]);
  return [...paths].filter(path => before.get(path) !== after.get(path)).map(path => path.split('.').map(Number));
}

/** The Yjs child indexes of a ProseMirror position, counted the way y-prosemirror maps nodes: text runs share one XmlText. */
function pathOf(doc, start) {
  const resolved = doc.resolve(start);
  const path = [];
  for (let depth = 0; depth < resolved.depth; depth++) path.push(resolved.index(depth));
  return path;
}

function type(updates, which, images) {
  const ydoc = load(updates);
  const editor = new HeadlessEditor(ydoc, { images });
  const block = editor.textblocks().at(which);
  if (!block) return null;
  const before = inventory(editor.fragment);
  let sent = 0;
  ydoc.on('update', update => { sent += update.length; });
  const path = pathOf(editor.state.doc, block.start);
  editor.dispatch(editor.state.tr.insertText('x', block.start + block.node.content.size));
  const changed = differing(before, inventory(editor.fragment));
  editor.destroy();
  return { path, changed, bytes: sent };
}

const texts = type => (type instanceof Y.XmlText ? [type] : type.toArray().flatMap(texts));

/** What is in a root, at any depth, deleted or not: ids and lengths. */
function structsOf(ydoc, root) {
  const type = ydoc.getMap(root);
  const rootOf = parent => { while (parent?._item) parent = parent._item.parent; return parent; };
  const all = [...ydoc.store.clients.values()].flat().filter(struct => struct instanceof Y.Item);
  const found = all.filter(item => rootOf(item.parent) === type);
  const ids = found.map(({ id, length, deleted }) => [id.client, id.clock, length, deleted]);
  return ids.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
}

/** Node.check() but for one thing: code beside other marks on a run is kept by editors, whose own commands don't make it. */
function check(node) {
  node.type.checkContent(node.content);
  node.type.checkAttrs(node.attrs);
  node.content.forEach(check);
}

function violations(ydoc, images) {
  const found = [];
  if (ydoc.store.pendingStructs || ydoc.store.pendingDs) found.push('updates that depend on missing ones');
  const visit = child => {
    if (child instanceof Y.XmlText) {
      if (child.toDelta().some(d => typeof d.insert !== 'string')) found.push('an embed in a text');
    } else if (child instanceof Y.XmlElement) child.toArray().forEach(visit);
    else found.push('neither element nor text');
  };
  const body = ydoc.getXmlFragment('content_v0');
  body.toArray().forEach(visit);
  const title = ydoc.getXmlFragment('title_v0').toArray();
  if (title.length > 1) found.push(`a title of ${title.length} nodes`);
  for (const child of title) {
    if (child instanceof Y.XmlElement && child.nodeName !== 'paragraph') found.push(`<${child.nodeName}> in the title`);
  }
  if (body.length && !found.length) {
    try { check(initProseMirrorDoc(body, schemaFor(images)).doc); } catch (error) { found.push(error.message); }
  }
  return found;
}

function judge(updates, images, json, state) {
  const ydoc = load(updates);
  const verdict = { loads: 0, violations: [], typed: {} };
  const pristine = Y.encodeStateAsUpdate(ydoc);
  ydoc.on('update', () => { verdict.loads++; });
  let editor;
  try {
    editor = new HeadlessEditor(ydoc, { images });
  } catch (error) {
    return { ...verdict, error: error.message };
  }
  verdict.text = textOf(editor.fragment);
  verdict.empty = texts(editor.fragment).filter(text => text.length === 0).length;
  verdict.title = textOf(ydoc.getXmlFragment('title_v0'));
  verdict.violations = violations(load([pristine]), images);
  if (json) verdict.json = editor.state.doc.toJSON();
  if (state) verdict.state = base64(Y.encodeStateAsUpdate(ydoc));
  editor.destroy();
  for (const [name, which] of [['first', 0], ['last', -1]]) verdict.typed[name] = type([pristine], which, images);
  return verdict;
}

serve({
  judge: ({ documents, images = 'inline', json = false, state = false }) => ({
    verdicts: documents.map(updates => judge(updates.map(bytes), images, json, state)),
  }),

  typed: ({ update, images = 'inline' }) => {
    const ydoc = load([bytes(update)]);
    const editor = new HeadlessEditor(ydoc, { images });
    const [block] = editor.textblocks();
    if (block) editor.dispatch(editor.state.tr.insertText('x', block.start + block.node.content.size));
    editor.destroy();
    return { update: base64(Y.encodeStateAsUpdate(ydoc)) };
  },

  structs: ({ update, root }) => ({ structs: structsOf(load([bytes(update)]), root) }),

  /** The Yjs update of a ProseMirror document as an editor itself writes it. */
  write: ({ json, images = 'inline' }) => {
    const ydoc = new Y.Doc();
    const editor = new HeadlessEditor(ydoc, { images });
    const node = editor.state.schema.nodeFromJSON(json);
    node.check();
    editor.dispatch(editor.state.tr.replaceWith(0, editor.state.doc.content.size, node.content));
    return { update: base64(Y.encodeStateAsUpdate(ydoc)) };
  },
});
