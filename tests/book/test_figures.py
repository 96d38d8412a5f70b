"""Figures as a reader sees them: no words over other words, no curve through words, in every panel of the book."""

import numpy as np
import pytest

from collapse_book import chapter as chapter_page
from collapse_utils import plot
from tests.support import browsing, needs_chromium
from workflow import chapters

STRUCK = """svg => {
  document.body.innerHTML = svg;
  const words = g => [...g.childNodes].find(node => node.nodeType === 8)?.data.trim() ?? g.id;
  const texts = [...document.querySelectorAll('g[id^=text_]')].map(g => [words(g), g.getBoundingClientRect()]).filter(([, r]) => r.width && r.height);
  const found = [];
  texts.forEach(([one, a], i) => texts.slice(0, i).forEach(([other, b]) => {
    const w = Math.min(a.right, b.right) - Math.max(a.left, b.left), h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (w > 0 && h > 0 && w * h > 0.1 * Math.min(a.width * a.height, b.width * b.height)) found.push(`${one} over ${other}`);
  }));
  const inside = (r, x, y) => x > r.left + 0.05 * r.width && x < r.right - 0.05 * r.width && y > r.top + 0.3 * r.height && y < r.bottom - 0.3 * r.height;
  for (const curve of document.querySelectorAll('g[id^=line2d_] > path[clip-path]')) {
    const to = curve.getScreenCTM(), length = curve.getTotalLength(), hits = new Map();
    for (let at = 0; at < length; at += 2) {
      const { x, y } = curve.getPointAtLength(at).matrixTransform(to);
      for (const [one, r] of texts) if (inside(r, x, y)) hits.set(one, (hits.get(one) ?? 0) + 1);
    }
    for (const [one, times] of hits) if (times > 1) found.push(`a curve through ${one}`);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def struck():
    with browsing() as browser:
        page = browser.new_page()
        yield lambda svg: page.evaluate(STRUCK, svg)


@needs_chromium
@pytest.mark.parametrize("chapter", chapters.chapters())
def test_words_are_free_of_words_and_curves(struck, chapter):
    panels = [
        picture for pictures in chapter_page.pictures(chapter).values() for picture in pictures if picture.name.endswith("svg")
    ]
    found = {picture.name: faults for picture in panels if (faults := struck(picture.content.decode()))}
    assert found == {}


@needs_chromium
@pytest.mark.parametrize(
    ("at", "said"), [((0.5, 0.5), ["a curve through a label"]), ((0.1, 0.9), []), ((0.62, 0.14), ["other words over a label"])]
)
def test_what_is_struck_through_is_seen(struck, at, said):
    fig, ax = plot.figure()
    ax.plot(np.linspace(0, 1), np.linspace(0, 1))
    ax.text(*at, "a label")
    ax.text(0.62, 0.15, "other words")
    ax.set(xlim=(0, 1), ylim=(0, 1))
    assert struck(fig.panels()[0]) == said
