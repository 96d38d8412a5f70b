"""The theory lab in Chromium on a processor slowed down four times: a first draw and a slider's redraw, as shares of a frame."""

import pytest

from collapse_book.lab import ENGINE, STYLE, WIDGETS
from tests.support import ROOT, browsing, needs_chromium

FRAME, FIRST, SLOWER = 16, 100, 4  # milliseconds, and how many times
DRAG = """name => {
  const form = document.querySelector(`#lab-${name} form`), taken = {};
  for (const input of form.querySelectorAll('input[type=range]')) {
    const start = input.value, most = +input.max, each = [];
    for (let k = 0; k <= 30; k++) {
      input.value = Math.round((k * most) / 30);
      const before = performance.now();
      form.dispatchEvent(new Event('input'));
      document.querySelector(`#lab-${name} svg`).getBBox();
      each.push(performance.now() - before);
    }
    input.value = start;
    form.dispatchEvent(new Event('input'));
    taken[input.name] = each.sort((a, b) => a - b)[15];
  }
  return taken;
}"""
LOADED = "() => { const seen = performance.getEntriesByType('navigation')[0]; return seen.domContentLoadedEventEnd - seen.domInteractive; }"


@needs_chromium
@pytest.mark.parametrize("name", WIDGETS)
def test_a_slider_moves_within_a_frame(benchmark, tmp_path, name):
    """The median redraw of each slider from end to end, layout included, and the widget's building, in milliseconds."""
    static = (ROOT / "book/_static").as_uri()
    scripts = "".join(f'<script src="{static}/{script}"></script>' for script in (ENGINE, f"lab/{name}.js"))
    (tmp_path / "page.html").write_text(
        f'<!doctype html><link rel="stylesheet" href="{static}/{STYLE}">{scripts}<div class="lab docutils container" id="lab-{name}"></div>'
    )
    with browsing() as browser:
        page = browser.new_page()
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        page.goto((tmp_path / "page.html").as_uri())
        first = page.evaluate(LOADED)
        taken = benchmark.pedantic(page.evaluate, (DRAG, name), rounds=1)
    benchmark.extra_info |= {"first": round(first / FIRST, 2), "frames": {key: round(ms / FRAME, 2) for key, ms in taken.items()}}
    words = ", ".join(f"{key} {ms:.0f}" for key, ms in taken.items())
    print(f"\n{name}: built in {first:.0f} ms (wanted {FIRST}); a redraw in {words} ms (wanted {FRAME})")
    assert min(taken.values()) > 0
