# SPDX-License-Identifier: Apache-2.0
"""Turns plain text into a tree and the tree into HTML, the way a documentation tool does."""

import html
import re
import sys
import textwrap
import xml.etree.ElementTree as tree

scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
words = "the quick *brown* fox jumps over ``the`` lazy `dog <https://example.org>`_".split()
source = "\n\n".join("Title %d\n=======\n\n%s" % (
    number, textwrap.fill(" ".join(words * 12), 72)) for number in range(120))
inline = re.compile(r"\*(?P<em>[^*]+)\*|``(?P<code>[^`]+)``|`(?P<a>[^`<]+)<(?P<href>[^>]+)>`_")


def build(text):
    root = tree.Element("body")
    for block in text.split("\n\n"):
        if "\n=" in block:
            tree.SubElement(root, "h1").text = block.split("\n")[0]
            continue
        paragraph = tree.SubElement(root, "p")
        last, at = None, 0
        for found in inline.finditer(block):
            plain = html.escape(block[at:found.start()])
            if last is None:
                paragraph.text = (paragraph.text or "") + plain
            else:
                last.tail = (last.tail or "") + plain
            kind = found.lastgroup if found.lastgroup != "href" else "a"
            last = tree.SubElement(paragraph, kind)
            last.text = found.group(kind)
            at = found.end()
        if last is not None:
            last.tail = block[at:]
    return root


for _ in range(max(1, round(40 * scale))):
    page = tree.tostring(build(source), encoding="unicode")
print(len(page))
