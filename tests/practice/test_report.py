"""The page of a study: what stands on it, offline, in either scheme, and on a telephone."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from collapse_utils.practice import report, rules
from tests import support
from tests.practice.test_rules import made

VALUES = {
    ("energy_distance", ""): lambda fit, share: 0.1 * fit,
    ("variance_ratio", "x"): lambda fit, share: 0.9**fit,
    ("variance_ratio", "y"): lambda fit, share: 1.0,
    ("nearest_neighbour_ratio", ""): lambda fit, share: 0.9,
    ("copied_rows", ""): lambda fit, share: 0.25,
}
NULL = dict.fromkeys(VALUES, 1.0) | {("energy_distance", ""): 0.1}


@pytest.fixture(scope="module")
def study():
    return made(VALUES, NULL, shares=(np.nan, 0.125))


@pytest.fixture(scope="module")
def page(study):
    judged = rules.judged(study, [rules.parse("energy_distance > 2 * null"), rules.parse("copied_rows > 0.5")])
    return report.page(study, judged, "python -m collapse_utils.practice '<b>.csv'", {"words": "A share of 0.3."})


class Seen(HTMLParser):
    """Ids, references, and whether every element is closed."""

    def __init__(self, page):
        super().__init__()
        self.ids, self.open, self.links = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        of = dict(attrs)
        self.ids += [of["id"]] if "id" in of else []
        self.links += [of[name] for name in ("src", "href", "xlink:href") if name in of]
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_no_other_place(page):
    seen = Seen(page)
    assert seen.open == []
    assert len(seen.ids) == len(set(seen.ids))
    assert all(link.startswith("#") and link[1:] in seen.ids for link in seen.links)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(seen.ids)
    assert not re.search(r"<script|@import|<link", page)
    assert "&lt;b&gt;.csv" in page  # what comes from outside is escaped
    assert page.count("<svg ") == 3  # energy, variance, neighbours: what was measured
    said = re.findall(r'<svg role="img" aria-label="([^"]*)"', page)  # tables have a name of their own, as they scroll
    assert len(said) == 3
    assert all(len(alt) > 60 for alt in said)


def test_what_was_asked_for_stands_on_the_page(page, study):
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<svg.*?</svg>|<style.*?</style>", "", page, flags=re.S)))
    assert "replace : after 8 fits the sampled rows are 8" in text
    assert re.search(r"Broken: 2 of 4", text)
    assert re.search(r"energy_distance &gt; 2 \* null mixture \(0\.125 real\) 0\.8\d\d ± 0\.0\d+ 0\.\d+ broken", text)
    assert re.search(r"4 a variance that goes to zero .* met met", text)
    assert re.search(r"5 a change of the scaling law .* not judged not judged", text)
    assert "A share of 0.3." in text
    assert "nearest-neighbour ratio" in text
    assert "tail_mass_1 (needs numbers and 100 held-out rows)" in text
    assert f"numpy {np.__version__}" in text


def test_a_study_without_rules_or_neighbours_has_a_page_too():
    plain = made({("mmd", ""): lambda fit, _: 0.1}, {("mmd", ""): 0.1})
    page = report.page(plain, rules.judged(plain, []), "command")
    assert "No rule was set" in page
    assert "Not measured: the group" in page
    assert "Not asked for" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567.0, "1.23e+06"),
        (12345.6, "12,346"),
        (0.5, "0.500"),
        (0.000123, "0.000123"),
        (1e-5, "1.00e-05"),
        (np.nan, "–"),
        (np.inf, "∞"),
        (-2.5, "-2.50"),
    ],
)
def test_numbers_are_written_as_they_are_read(value, text):
    assert report.number(value) == text


@support.needs_chromium
def test_nothing_is_cut_off_on_a_telephone_in_either_scheme(page, tmp_path):
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    with support.browsing() as browser:
        grounds = set()
        for scheme in ("light", "dark"):
            for width in (390, 1280):
                tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
                asked = []
                tab.on("request", lambda request, asked=asked: asked.append(request.url))
                tab.goto(f"file://{tmp_path}/report.html")
                assert tab.evaluate("document.documentElement.scrollWidth") <= width
                assert len(asked) == 1
                grounds.add(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
                tab.close()
        assert len(grounds) == 2
