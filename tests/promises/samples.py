# ruff: noqa: E501, Q003, RUF001, W291 - the samples stand as they are in the files
"""Notes as people and their programs write them, byte for byte: what a mirror must not rewrite."""

from typing import Final

from tests.markdown.conftest import examples

BODIES: Final[dict[str, bytes]] = {
    "Callouts": b"""# Callouts

> [!note]
> A plain one.

> [!warning]- Folded, with *marks*
> First line
> second line
>
> > [!tip] Nested
> > deep inside

> [!quote|left] No body
""",
    "Dataview": b"""status:: open
due:: 2024-05-01
**rating**:: 5

- task [priority:: high] and (hidden:: yes)

```dataview
TABLE file.mtime AS "Changed"
FROM #boats AND -"Archive"
WHERE contains(tags, "x")
```

`= this.file.name`
""",
    "Math": rb"""Inline $\{1,2\}$ and $a_1 * b_2 * c$ and $\alpha\,\beta$; it costs US$100 to US$200.

$$
\begin{pmatrix}
1 & 2 \\
3 & 4
\end{pmatrix}
$$

Last: $x < y$.
""",
    "HTML": b"""Press <kbd>Ctrl</kbd>+<kbd>C</kbd>, drink H<sub>2</sub>O.

<details>
<summary>More</summary>

Hidden *text* here.

</details>

<!-- a comment
over two lines -->

<img src="a.png" width=100 /><br>
after the image &nbsp;&copy; end
""",
    "Footnotes": b"""A claim[^1] and another[^long], inline^[too].

[^1]: The source.
[^long]:
    Begins on the next line

    and has a second paragraph
    wrapped.
""",
    "Tables": b"""| Name  | Left | Right |
|:------|:----:|------:|
| boat  | a\\|b |     1 |
| *oar* | `x`  |   200 |

Name|Value
-|-
short|row

| ragged | table |
|---|---|
| one |
| one | two | three |
""",
    "Windows": b"# Windows\r\n\r\n* one\r\n* two\r\n\r\nlast line\r\n",
    "Windows in part": b"first\r\nsecond\n\n- a\r\n- b\n",
    "Byte order mark": b"\xef\xbb\xbf# Mark\n\ntext with a mark in front\n",
    "Mark and Windows": b"\xef\xbb\xbf---\r\nstatus: open\r\n---\r\n* text\r\n",
    "Old Macintosh": b"one line\rtwo line\r\rthree line\r",
    "No last line end": b"* text\n* that ends without a line end",
    "Many ends": b"\n\n* text between blank lines\n\n\n\n\n",
    "Tabs": b"-\tone\n\t-\tdeep\n\n\t\tcode below\n\n1.\ttwo\n\n\tindented code\n",
    "Trailing blanks": b"one line  \ntwo line   \n\n   three line \t\n# Heading   \n- item \n\n \n",
    "Bullets": b"* star\n* star\n\n- dash\n- dash\n\n+ plus\n\n    + deep plus\n\n1) one\n2) two\n5. five\n",
    "Rules": b"above\n\n***\n\n- - -\n\n_____\n\nbelow\n",
    "Underlined": b"Title\n=====\n\nSection\n---\n\n# Closed #\n\n## Loose   ##   \n",
    "Emphasis": b"__bold__ *it* _it_ **bold** ***both*** **bo_th_** a*b*c ~~gone~~ ==marked== \\*no\\*\n",
    "References": b"""A [link][ref], [another] and ![pic][Ref].

[ref]: http://example.org/a_b  "Title"
[another]: <http://example.org/with space>
[unused]: /nowhere
""",
    "Links": b"""<http://example.org>, http://example.org/bare_url, [a](<b c.md> 'title'), [[Nobody]],
[[Nobody|label]], [[Nobody#Heading]], [[#^block]], ![[Nobody]], ![[pic.png|100x200]] ^block
""",
    "Escapes": rb"""1\. not a list, \# not a heading, \[\[not a link\]\], a\_b, \\ and &amp; &lt;tag&gt; &#35;
\- dash \+ plus \> quote \` tick \| pipe
""",
    "Code": b"""~~~python title="x" hl_lines=1
print("***")
~~~

````md
```
nested
```
````

``a ` b`` and ` padded `

    indented
      code
""",
    "Open fence": b"text before\n\n```js\nnever closed\n\n* not a list\n",
    "Wrapped": b"""A paragraph that is wrapped
by hand at some width, with
a hard break\\
and another  
here.

> quote that is
lazy about its marks
""",
    "Tasks": b"- [ ] open\n- [x] done\n- [/] half\n- [-] dropped\n* [X] star\n\n1. [ ] numbered\n",
    "Comments": b"visible %%hidden%% visible\n\n%%\nblock *hidden*\n\nmore\n%%\n\nend\n",
    "Plus fences": b"+++\ntitle = 'x'\ndate = 2024-01-02\n[params]\n  a = 1\n+++\n\n* Text\n",
    "Semicolon fences": b";;;\n{\"title\": \"x\", \"n\": 1}\n;;;\n\n* Text\n",
    "Longer fences": b"---  \nstatus: open\n---\t\n* Text\n",
    "Definition lists": b"Term\n: meaning one\n: meaning two\n\nOther\n\n:   far meaning\n",
    "Divs": b"::: warning\nInside a *div*\n:::\n\n!!! note \"Title\"\n    body\n\n=== \"Tab\"\n\n    more\n",
    "Line block": b"| The first line\n|     the second\n| the third\n\n% Title\n% Author\n",
    "Properties": b"""title:: Apr 19th, 2021
alias:: [[x]]

- one
  id:: 6283aa
\t- two
\t  collapsed:: true
- DONE three
  SCHEDULED: <2024-01-02 Tue>
  :LOGBOOK:
  CLOCK: [2024-01-02 Tue 10:00:00]
  :END:
""",
    "Board": b"---\n\nkanban-plugin: board\n\n---\n\n## Todo\n\n- [ ] x\n\n\n\n\n%% kanban:settings\n```\n{}\n```\n%%\n",
    "Languages": "日本語の文章、\nそして次の行。\n\nGrüße, naïve café\u00a0à\u202fParis — ‘ok’\u2026 👩\u200d👧 e\u0301\n".encode(),
    "Odd characters": "a\u200bb\u2028c\u0085d\x0be\x0cf\x7fg \ufeffh\n\ntext\n".encode(),
    "Right to left": "* שלום עולם\n* مرحبا\n".encode(),
    "Long line": b"* " + b"word and " * 800 + b"end\n",
    "Deep": b"".join(b"  " * k + b"* level %d\n" % k for k in range(12)) + b"\nend of it\n",
    "Quotes": b"> one\n>two\n>\n>  three\n>> deeper\n\n> - item\n>   more\n",
    "Lists of all kinds": b"""*   wide star
    second line

    paragraph

*   wide star again

10. ten
11. eleven

- a
- b


- after two blanks
""",
    "Front matter alone": b"---\nstatus: open\n# a comment\naliases:\n  - one\n---\n",
    "Blank": b"\n \n\t\n",
    "Nothing": b"",
    "One word": b"word",
    "Templates": b"{{title}} <% tp.date.now() %> {% include x.html %} {{< figure src=\"x\" >}}\n* ${x} @{y}\n",
    "Colons": b"---\nnot: closed\n\n* text below a rule\n",
}  # fmt: skip
"""Bodies of every kind; some have front matter too."""

FRONTS: Final[dict[str, bytes]] = {
    "dendron": b"""---
id: 9eXZ2s4mdRvmbjjLmFdpp
title: Careers
desc: ''
updated: 1635
nav_order: 9.2
---

- [[tags.scope]] x
""",
    "jekyll": b"""---
layout: docs
title: Assets
permalink: /docs/assets/
---

* {{ page.title }}
{% include x.html %}
""",
    "hugo": b"""---
title: "My Post"
date: 2024-01-02T03:04:05Z
draft: true
tags: ['a', "b c"]
categories:
- x
params:
  author: J
---
{{< figure src="x" >}}
""",
    "hugo with TOML": b"""+++
title = 'x'
date = 2024-01-02
+++

Text
""",
    "zettelkasten": b"""---
id: 202101011200
title: A thought
tags: [zettel, deep]
---
# A thought

see [[202101011201]]
""",
    "mkdocs": b"""---
hide:
  - navigation
title: Material for MkDocs
---

!!! note "x"
    text

=== "tab"

    more
""",
    "obsidian": b"""---
aliases:
  - one
  - 'two: three'
cssclasses: [wide]
tags:

publish: true
created: 2024-01-01 # day
---
> [!note]
> text

status:: open
due:: 2024

%%
hidden
%%
""",
    "logseq": b"""title:: Apr 19th, 2021
alias:: [[x]]

- one
  id:: 6283
\t- two
  collapsed:: true
""",
    "kanban": b"""---

kanban-plugin: board

---

## Todo

- [ ] x




%% kanban:settings
```
{"kanban-plugin":"board"}
```
%%
""",
    "excalidraw": """---

excalidraw-plugin: parsed
tags: [excalidraw]

---
==⚠  Switch to EXCALIDRAW VIEW ==


# Text Elements
Hello ^abc123

%%
# Drawing
```json
{
\t"type": "excalidraw"
}
```
%%
""".encode(),
    "broken YAML": b"""---
title: a: b
list: [x
# note
  - odd
---
text
""",
    "broken YAML, Windows": b"\xef\xbb\xbf---\r\ntitle: 'x\r\nok: 1\r\n---\r\n* text\r\n",
    "a key twice": b"---\na: 1\nb: 2\na: 3\n---\ntext\n",
    "only comments": b"---\n# nothing\n---\ntext\n",
    "an own id and heaper_id": b"---\nid: a\nheaper_id: b\n---\ntext\n",
    "no end": b"---\na: 1\n---",
}
"""Front matter as other programs write it."""


def example_files() -> dict[str, bytes]:
    """Every example of CommonMark and of GitHub's extensions as a file; none has a NUL."""
    texts = [text for text in examples() if "\0" not in text]
    return {f"Example {k:03}.md": text.encode() for k, text in enumerate(texts)}
