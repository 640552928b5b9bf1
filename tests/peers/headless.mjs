// A ProseMirror editor without a browser: real state, real y-prosemirror plugin, no DOM.
import { EditorState, Plugin } from '@tiptap/pm/state';
import { ySyncPlugin } from 'y-prosemirror';
import * as Y from 'yjs';

import { schemaFor } from './schema.mjs';

// ProseMirror warns when a selection has no textblock to stand in; without a person there is none to place.
console.warn = () => {};

/** Tiptap's TrailingNode: after any change a document that ends otherwise gets an empty last paragraph. */
const trailingParagraph = () =>
  new Plugin({
    appendTransaction(transactions, _old, state) {
      const last = state.doc.lastChild?.type.name;
      if (!transactions.some(tr => tr.docChanged && !tr.getMeta('y-sync$')) || last === 'paragraph') return null;
      return state.tr.insert(state.doc.content.size, state.schema.nodes.paragraph.create());
    },
  });

/** What y-prosemirror takes for an EditorView: it reads `state`, calls `dispatch`, asks for the focus. */
export class HeadlessEditor {
  constructor(ydoc, { images = 'inline', trailing = false } = {}) {
    this.fragment = ydoc.getXmlFragment('content_v0');
    const plugins = [ySyncPlugin(this.fragment), ...(trailing ? [trailingParagraph()] : [])];
    this.state = EditorState.create({ schema: schemaFor(images), plugins });
    this.views = [];
    // One by one: the sync plugin dispatches its first rendering while its view is being made.
    for (const plugin of this.state.plugins) {
      if (plugin.spec.view) this.views.push(plugin.spec.view(this));
    }
  }

  dispatch(tr) {
    const before = this.state;
    this.state = this.state.apply(tr);
    for (const view of this.views) view.update?.(this, before);
  }

  hasFocus() {
    return false;
  }

  destroy() {
    for (const view of this.views) view.destroy?.();
  }

  /** Textblocks in document order: {node, start}, `start` the position before their first character. */
  textblocks() {
    const found = [];
    this.state.doc.descendants((node, position) => {
      if (node.isTextblock) found.push({ node, start: position + 1 });
      return !node.isTextblock;
    });
    return found;
  }
}

export function load(updates) {
  const ydoc = new Y.Doc();
  for (const update of updates) Y.applyUpdate(ydoc, update);
  return ydoc;
}

/** All text of an XmlFragment, nothing between its parts. */
export const textOf = type =>
  type.toArray().map(child => {
    if (child instanceof Y.XmlText) return child.toDelta().map(d => (typeof d.insert === 'string' ? d.insert : '')).join('');
    return child instanceof Y.XmlElement ? textOf(child) : '';
  }).join('');
