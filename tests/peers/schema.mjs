// The widest schema a heap's editor may have: every node and mark of PROTOCOL §8 out of real Tiptap
// extensions (task lists under both names), and a few things markdown has no word for.
import { Extension, Mark, Node, getSchema } from '@tiptap/core';
import { Image } from '@tiptap/extension-image';
import { Link } from '@tiptap/extension-link';
import { TaskItem, TaskList } from '@tiptap/extension-list';
import { Table, TableCell, TableHeader, TableRow } from '@tiptap/extension-table';
import { Color, TextStyle } from '@tiptap/extension-text-style';
import { StarterKit } from '@tiptap/starter-kit';

const attributes = defaults => () =>
  Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, { default: value }]));

const html = name => ({ parseHTML: () => [{ tag: name }], renderHTML: () => [name] });

const atom = (name, group, defaults) =>
  Node.create({ name, group, inline: group === 'inline', atom: true, addAttributes: attributes(defaults), ...html(name) });

const contract = images => [
  // Link is configured below; the history belongs to Yjs.
  StarterKit.configure({ undoRedo: false, link: false }),
  Link.configure({ openOnClick: false, autolink: false }),
  TaskList.extend({ name: 'todo_list', content: 'todo_item+' }).configure({ itemTypeName: 'todo_item' }),
  TaskItem.extend({ name: 'todo_item' }).configure({ nested: true, taskListTypeName: 'todo_list' }),
  TaskList,
  TaskItem.configure({ nested: true }),
  Table, TableRow, TableHeader, TableCell,
  Image.configure({ inline: images === 'inline' }),
  TextStyle, Color,
  atom('file', 'block', { files: [] }),
  atom('pagelink', 'inline', { blockKey: null }),
  atom('reference', 'inline', { id: null, label: null, type: 'mention' }),
  Extension.create({
    name: 'tightLists',
    addGlobalAttributes: () => [{ types: ['bulletList', 'orderedList'], attributes: { tight: { default: null } } }],
  }),
];

const beyondMarkdown = [
  atom('whiteboard', 'block', { strokes: [], zoom: 1, owner: null }),
  atom('formula', 'inline', { source: '', display: false }),
  Node.create({ name: 'callout', group: 'block', content: 'block+', addAttributes: attributes({ tone: 'info' }), ...html('callout') }),
  // Does not exclude itself: y-prosemirror stores it as "annotation--<hash>".
  Mark.create({ name: 'annotation', excludes: '', addAttributes: attributes({ thread: null }), ...html('annotation') }),
  Mark.create({ name: 'highlight', addAttributes: attributes({ color: null }), ...html('highlight') }),
  Extension.create({
    name: 'anchors',
    addGlobalAttributes: () => [{ types: ['paragraph', 'heading'], attributes: { anchor: { default: null } } }],
  }),
];

/** `images`: whether this heap's images are inline (the contract's form) or blocks. */
export const extensionsFor = images => [...contract(images), ...beyondMarkdown];

const schemas = new Map();
export function schemaFor(images = 'inline') {
  if (!schemas.has(images)) schemas.set(images, getSchema(extensionsFor(images)));
  return schemas.get(images);
}
