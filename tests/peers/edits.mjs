// What a person does in the editor, as small scripts: each edit is {do, ...} and one ProseMirror transaction.
//
// Every index is taken modulo what there is and an edit that makes no sense here is skipped, so that random scripts
// run on any document. `block` counts textblocks in document order (-1: the last), `at` counts positions in it.
import { Fragment } from '@tiptap/pm/model';
import { AllSelection } from '@tiptap/pm/state';
import { canJoin, canSplit } from '@tiptap/pm/transform';

const wrap = (index, count) => ((index % count) + count) % count;

/** A position inside a textblock that does not split a surrogate pair: no caret stands there. */
function caret({ node, start }, at) {
  const offset = wrap(at, node.content.size + 1);
  const before = node.textBetween(0, offset, '', '\ufffc').charCodeAt(offset - 1);
  return start + (before >= 0xd800 && before <= 0xdbff ? offset + 1 : offset);
}

/** The characters on both sides of a position; fewer at an end of the block or beside a node. */
const around = ({ node, start }, position) => {
  const [from, to] = [Math.max(position - start - 1, 0), Math.min(position - start + 1, node.content.size)];
  return node.textBetween(from, to, '', ' ');
};

/** Where an edit is to happen; with `whole` not inside a word but behind it. */
function place(block, { at = 0, whole = false }) {
  let position = caret(block, at);
  while (whole && /^\S\S$/u.test(around(block, position))) position++;
  return position;
}

/** Both ends of `length` positions from `at` on, ordered. */
const range = (block, { at = 0, length = 1 }) => {
  const from = caret(block, at);
  const left = block.start + block.node.content.size - from;
  return [from, length >= left ? from + left : caret(block, from - block.start + length)];
};

const childStart = (doc, index) => {
  let position = 0;
  for (let k = 0; k < index; k++) position += doc.child(k).nodeSize;
  return position;
};

const inBlock = apply => (editor, edit) => {
  const blocks = editor.textblocks();
  return blocks.length ? apply(editor.state.tr, blocks[wrap(edit.block ?? 0, blocks.length)], edit) : null;
};

const topLevel = apply => (editor, edit) => {
  const { doc, tr } = editor.state;
  return doc.childCount ? apply(tr, wrap(edit.at ?? 0, doc.childCount), edit, doc) : null;
};

const EDITS = {
  type: inBlock((tr, block, edit) => tr.insertText(edit.text, place(block, edit))),

  erase: inBlock((tr, block, edit) => tr.delete(...range(block, edit))),

  mark: inBlock((tr, block, edit) => tr.addMark(...range(block, edit), tr.doc.type.schema.mark(edit.mark, edit.attrs))),

  unmark: inBlock((tr, block, edit) => tr.removeMark(...range(block, edit), tr.doc.type.schema.marks[edit.mark])),

  split: inBlock((tr, block, edit) => {
    const position = place(block, edit);
    return canSplit(tr.doc, position) ? tr.split(position) : null;
  }),

  join: inBlock((tr, block) => (canJoin(tr.doc, block.start - 1) ? tr.join(block.start - 1) : null)),

  retype: inBlock((tr, block, { to, attrs }) => tr.setBlockType(block.start, block.start, tr.doc.type.schema.nodes[to], attrs)),

  insert: (editor, { at = 0, node }) => {
    const { doc, schema, tr } = editor.state;
    return tr.insert(childStart(doc, wrap(at, doc.childCount + 1)), schema.nodeFromJSON(node));
  },

  remove: topLevel((tr, index, _edit, doc) => {
    const position = childStart(doc, index);
    return tr.delete(position, position + doc.child(index).nodeSize);
  }),

  move: topLevel((tr, index, { to = 0 }, doc) => {
    if (doc.childCount < 2) return null;
    const node = doc.child(index);
    const position = childStart(doc, index);
    tr.delete(position, position + node.nodeSize);
    return tr.insert(childStart(tr.doc, wrap(to, tr.doc.childCount + 1)), node);
  }),

  attrs: topLevel((tr, index, { attrs }, doc) => tr.setNodeMarkup(childStart(doc, index), null, { ...doc.child(index).attrs, ...attrs })),

  check: (editor, { item = 0 }) => {
    const found = [];
    editor.state.doc.descendants((node, position) => { if ('checked' in node.attrs) found.push({ node, position }); });
    if (!found.length) return null;
    const { node, position } = found[wrap(item, found.length)];
    return editor.state.tr.setNodeMarkup(position, null, { ...node.attrs, checked: !node.attrs.checked });
  },

  replace: (editor, { find, text }) => {
    let hit = null;
    editor.state.doc.descendants((node, position) => {
      if (!hit && node.isText && node.text.includes(find)) hit = { node, from: position + node.text.indexOf(find) };
    });
    if (!hit) return null;
    const fresh = text ? [editor.state.schema.text(text, hit.node.marks)] : [];
    return editor.state.tr.replaceWith(hit.from, hit.from + find.length, Fragment.from(fresh));
  },
};

/** The transaction of an edit; null where ProseMirror finds that it does not fit. */
function transaction(editor, edit) {
  try {
    const tr = EDITS[edit.do](editor, edit);
    tr?.doc.check();
    return tr?.docChanged ? tr : null;
  } catch (error) {
    if (error instanceof RangeError || error.name === 'TransformError') return null;
    throw error;
  }
}

/** With all selected no node is: y-prosemirror fails to restore the selection of a node that someone else deleted. */
export const selectAll = tr => tr.setSelection(new AllSelection(tr.doc));

/** Carries out one edit; whether it changed anything. */
export function carryOut(editor, edit) {
  const tr = transaction(editor, edit);
  if (tr) editor.dispatch(selectAll(tr));
  return tr !== null;
}
