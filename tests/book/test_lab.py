"""The theory lab: its laws against the package's, its simulation against the laws, its widgets in a browser without a network."""

import itertools
import re
import subprocess
import sys
from urllib.parse import quote

import numpy as np
import pytest
from scipy.special import zeta

from collapse_book import chapter as chapter_page, lab
from collapse_utils import plot
from collapse_utils.schedule import angular
from collapse_utils.theory import criticality, diffusion, fluctuations, gaussian, linear, ridge, scaling_laws, tails, weights
from tests.support import browsing, needs_chromium
from workflow import chapters
from workflow.cards import ROOT

CONF = f"""import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "book/_ext")!r}]
extensions, html_theme = ["myst_parser"], "sphinx_book_theme"
html_static_path, html_css_files = [{str(ROOT / "book/_static")!r}], ["book.css"]

def setup(app):
    from collapse_book import lab
    app.add_directive("lab", lab.Lab)
    app.connect("html-page-context", lab.on_page_context)
"""
STATIC = ROOT / "book/_static"
PAGES = {
    "index": "# t\n\n```{toctree}\nplain\none\n```\n\n## An anchor\n\n```{lab} regimes linear_models figure-paths\n```\n\n"
    "```{lab} mixture strong_collapse figure-phase\n```\n\n```{lab} chain\n```\n\n```{lab} sampler\n```\n\n```{lab} tails\n```\n\n"
    "```{lab} signal\n```\n\n```{lab} weight\n```\n\n```{lab} taught\n```\n",
    "plain": "# p\n\nNo widget.\n",
    "one": "# o\n\n```{lab} tails\n```\n",
}
RNG = np.random.default_rng(5)
PATHS = [[n] for n in (1, 2, 1200)]
SPECTRA = [[int(n), list(RNG.gamma(2, 0.5, 8)), float(10.0 ** RNG.uniform(-4, 1)), 0.3] for n in RNG.integers(1, 60, 60)]
MIXED = [[float(1 + 10.0 ** a), float(s), float(v), float(10.0 ** q)] for a, s, v, q in zip(
    RNG.uniform(-2, 7, 1000), RNG.uniform(0.001, 0.999, 1000), RNG.uniform(0.1, 3, 1000), RNG.uniform(-3, 2, 1000))]  # fmt: skip
SHARES = [point[1:] for point in MIXED]
CHAINS = [[int(n), int(m), int(ddof), float(bias)] for n, m, ddof, bias in zip(
    RNG.integers(1, 80, 60), RNG.integers(2, 200, 60), RNG.integers(0, 2, 60), RNG.uniform(0.05, 1, 60))]  # fmt: skip


STEPS = [[steps] for steps in range(2, 1002)]
SAMPLED = [[regime, float(factor), int(2 * half), int(n)] for regime in ("replace", "accumulate", "accumulate_subsample", "mixture")
           for factor, half, n in zip(RNG.uniform(0.1, 1, 20), RNG.integers(2, 400, 20), RNG.integers(1, 60, 20))]  # fmt: skip
CUT = [[list(10.0 ** RNG.uniform(0, 9, 40)), float(beta), int(cut), float(real), 10_000] for beta, cut, real in zip(
    RNG.uniform(1.2, 3, 30), 10.0 ** RNG.uniform(2, 5, 30), RNG.choice([0, 1, *RNG.uniform(0, 1, 5)], 30))]  # fmt: skip
TAILS = [[float(beta), int(cut)] for beta, cut in zip(RNG.uniform(1.2, 3, 1000), 10.0 ** RNG.uniform(2, 5, 1000))]
NETWORKS = [[name, float(k1), 60, float(gain * criticality.critical(criticality.ACTIVATIONS[name]).c_w), float(c_b)]
            for name in ("tanh", "relu", "gelu", "swish", "sin", "linear") for k1, gain, c_b in [(1.0, 1.0, 0.0), (0.3, 1.3, 0.2), (4.0, 0.6, 0.1)]]  # fmt: skip
WEIGHTED = [[float(w), int(n), float(k)] for w, n, k in zip(
    RNG.uniform(0.01, 1, 1000), RNG.integers(1, 60, 1000), 10.0 ** RNG.uniform(-2, 3, 1000))]  # fmt: skip
RATIOS = [[w, k] for w, _, k in WEIGHTED]
TAUGHT = [[float(alpha), int(latents), float(rows), float(10.0 ** penalty), float(share), int(by)] for alpha, latents, by, beyond, penalty, share in zip(
    RNG.uniform(0.3, 2.5, 1000), RNG.integers(80, 300, 1000), RNG.integers(5, 60, 1000), RNG.integers(0, 400, 1000),
    RNG.uniform(-6, -1, 1000), RNG.uniform(0, 1, 1000)) for rows in [by + beyond if beyond % 10 else np.inf]]  # fmt: skip


def fits(n):
    return np.arange(1, n + 1)


def unseen(counts, beta, cut, real, exact):
    rank, p, weight = tails.zipf(beta, (cut,), exact)
    return tails.unseen(counts, p, weight, real * p + (1 - real) * tails.conditioned(p, weight, rank <= cut))


def taught(alpha, latents, rows, *rest):
    return scaling_laws.taught(scaling_laws.spectrum(latents, alpha), min(rows, 1e14), *rest)


def chain(alpha, latents, rows, fits):
    return scaling_laws.chain(scaling_laws.spectrum(latents, alpha), rows, fits)


def of_network(law):
    return lambda name, *rest: law(criticality.ACTIVATIONS[name], *rest)


def vertex(ensemble):
    return of_network(lambda act, k1, depth, c_w, c_b: fluctuations.vertex(act, k1, depth, ensemble, c_w=c_w, c_b=c_b))


LAWS = {  # the law of the package at the arguments of the script's, and at which
    "first_risk": (linear.first_risk, [[d, d + 2 + k, 0.7] for d in range(1, 60) for k in range(20)]),
    "replace": (lambda n: linear.replace(fits(n)), PATHS),
    "accumulate": (lambda n: linear.accumulate(fits(n)), PATHS),
    "replace_multiple": (lambda n: linear.replace_multiple(fits(n)), PATHS),
    "accumulate_subsample": (lambda n: linear.accumulate_subsample(fits(n)), PATHS),
    "mixture": (lambda n, share: linear.mixture(fits(n), share), [[n, share / 20] for n in (1, 2, 90) for share in range(21)]),
    "ridge_replace": (lambda n, *rest: linear.ridge_replace(fits(n), *rest), SPECTRA),
    "ridge_accumulate": (lambda n, *rest: linear.ridge_accumulate(fits(n), *rest), SPECTRA),
    "isotropic": (ridge.isotropic, MIXED),
    "hurt_size": (ridge.hurt_size, SHARES),
    "floor_size": (ridge.floor_size, SHARES),
    "gaussian_replace": (lambda *at: gaussian.replace(*at).variance, CHAINS),
    "gaussian_accumulate": (lambda *at: gaussian.accumulate(*at).variance, CHAINS),
    "log_determinant": (lambda n, m, ddof, bias: gaussian.log_determinant(n, m, ddof, bias=bias)[0], CHAINS),
    "deterministic_factor": (lambda steps: diffusion.deterministic_factor(angular(steps).alpha), STEPS),
    "ancestral_factor": (lambda steps: diffusion.ancestral_factor(angular(steps).alpha), STEPS),
    "sampler_path": (diffusion.path, SAMPLED),
    "sampler_log_path": (diffusion.log_path, [at[1:] for at in SAMPLED]),
    "unseen": (unseen, CUT),
    "beyond": (lambda beta, cut: zeta(beta, cut + 1) / zeta(beta), TAILS),
    "kernels": (of_network(criticality.kernels), NETWORKS),
    "weighted_path": (weights.path, WEIGHTED),
    "weighted_limit": (weights.limit, RATIOS),
    "fixed_limit": (weights.fixed_limit, RATIOS),
    "best_weight": (weights.best, [[k] for _, k in RATIOS]),
    "taught": (taught, TAUGHT),
    "chain": (chain, [[alpha, latents, by, 10] for alpha, latents, *_, by in TAUGHT[:100]]),
    "vertex_gaussian": (vertex("gaussian"), NETWORKS),
    "vertex_haar": (vertex("haar"), NETWORKS),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A book of two pages, one with every widget."""
    folder = tmp_path_factory.mktemp("lab")
    for name, text in [("conf.py", CONF), *((f"{name}.md", text) for name, text in PAGES.items())]:
        (folder / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", str(folder), str(folder / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for chapter, cell in re.findall(r"{lab} \w+ (\w+) ([\w-]+)", PAGES["index"]):
        data = folder / "out" / "data" / chapter
        data.mkdir(parents=True)
        for picture in chapter_page.pictures(chapter)[cell]:
            (data / picture.name).write_bytes(picture.content)
    return folder / "out"


@pytest.fixture(scope="module")
def browser():
    with browsing() as opened:
        yield opened


@pytest.fixture
def visit(built, browser):
    """Open the page with the widgets at a hash; no error may be left on its console."""
    errors, contexts = [], []

    def go(place="", width=1280, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options))
        contexts[-1].set_default_timeout(20_000)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(f"file://{built}/index.html{place}")
        return page

    yield go
    for context in contexts:
        context.close()
    assert [error for error in errors if "theme mode" not in error] == []  # the theme reports its own first start


def test_only_a_page_with_a_widget_loads_the_lab(built):
    loaded = {name: re.findall(r"_static/(lab[\w/.]+)\?", (built / f"{name}.html").read_text(encoding="utf-8")) for name in PAGES}
    scripts = [lab.ENGINE, *(f"lab/{name}.js" for name in lab.WIDGETS)]
    assert loaded == {"index": [lab.STYLE, *scripts], "plain": [], "one": [lab.STYLE, lab.ENGINE, "lab/tails.js"]}
    assert {f"lab/{file.name}" for file in STATIC.glob("lab/*")} == set(scripts)
    sizes = [(STATIC / script).stat().st_size for script in scripts]
    assert max(sizes) <= 14 * 1024
    assert sizes[0] <= 12 * 1024


def test_a_reader_without_scripts_sees_the_figure_of_the_chapter(built):
    page = (built / "index.html").read_text(encoding="utf-8")
    assert re.search(r'id="lab-regimes">\s*<div class="still[^"]*">\s*<div class="panels">\s*<a [^>]*><img alt="[^"]{40,}', page)
    assert "With scripts there are sliders here: twenty Gaussian chains." in page


def test_a_widget_or_a_figure_that_does_not_exist_is_refused(tmp_path):
    said = {
        "regime": "lab: 'regime' is no widget; write one of regimes, mixture, chain, sampler, tails, signal, weight, taught.",
        "chain gaussian": "lab: 'gaussian' is no figure; write a chapter and a cell of it with a figure.",
        "chain gaussian imports": "lab: 'gaussian imports' is no figure; write a chapter",
    }
    page = "".join(f"```{{lab}} {asked}\n```\n" for asked in said)
    for name, text in (("conf.py", CONF), ("index.md", page)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "pseudoxml", str(tmp_path), str(tmp_path / "out")]
    complaints = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    for k, words in enumerate(said.values()):
        assert f"index.md:{2 * k + 1}: ERROR: {words}" in complaints


@needs_chromium
def test_without_scripts_the_still_figure_is_seen_and_with_them_it_is_not(visit):
    for scripts in (True, False):
        page = visit(java_script_enabled=scripts)
        page.locator("#lab-regimes .live" if scripts else "#lab-regimes img").first.wait_for()
        assert page.locator("#lab-regimes .still").is_visible() is not scripts


@pytest.fixture(scope="module")
def script(browser):
    """The script on an empty page, for what needs no widget."""
    page = browser.new_page()
    for name in ("engine", *lab.WIDGETS):
        page.add_script_tag(path=STATIC / "lab" / f"{name}.js")
    return page


@needs_chromium
@pytest.mark.parametrize("law", LAWS)
def test_a_law_of_the_lab_is_the_law_of_the_package(script, law):
    ours, at = LAWS[law]
    drawn = script.evaluate(f"calls => calls.map(at => lab.laws.{law}(...at))", at)
    found, expected = (np.concatenate([np.ravel(one) for one in values]) for values in (drawn, [ours(*one) for one in at]))
    assert len(found) >= 1000
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13 * law.startswith("vertex"))  # a vertex passes through zero


@needs_chromium
def test_the_names_and_colours_are_those_of_the_book(script):
    assert set(script.evaluate("Object.keys(lab.laws)")) == set(LAWS)
    assert script.evaluate("Object.keys(lab.widgets)") == list(lab.WIDGETS)
    colours = script.evaluate("lab.COLOURS")
    assert colours == {regime: plot.COLOURS[regime] for regime in colours}
    starts = {name: criticality.critical(criticality.ACTIVATIONS[name]) for name in script.evaluate("Object.keys(lab.CRITICAL)")}
    known = {name: [one.c_b, one.c_w, one.k or 1.0 if one.k == one.k else 1.0] for name, one in starts.items()}
    assert script.evaluate("lab.CRITICAL") == {name: pytest.approx(one, rel=1e-9) for name, one in known.items()}
    assert script.evaluate("Object.values(lab.AREAS)") == [plot.SERIES[k][0] for k in (0, 3, 4)]


@needs_chromium
@pytest.mark.parametrize("penalty", [0, 0.2])
def test_the_loop_in_the_browser_follows_the_laws(script, penalty):
    d, rows, n, count = 4, 40, 10, 1000
    setting = {
        "d": d,
        "rows": rows,
        "n": n,
        "penalty": penalty,
        "share": 0,
        "regimes": ["replace", "accumulate", "replace_multiple"],
    }
    runs = script.evaluate(
        f"s => {{ const random = lab.normals(3); return Array.from({{length: {count}}}, () => lab.replicate(s, random)); }}",
        setting,
    )
    spectra = script.evaluate(
        f"() => {{ const r = lab.normals(9); return Array.from({{length: 4000}}, () => lab.spectrum({d}, {rows}, r)); }}"
    )
    unit, noise = linear.first_risk(d, rows, 1.0), 1 / np.sqrt(rows)
    if penalty:
        laws = {
            k: getattr(linear, f"ridge_{k}")(fits(n), spectra, penalty, noise).mean(axis=0) for k in ("replace", "accumulate")
        }
    else:
        laws = {k: unit * getattr(linear, k)(fits(n)) for k in setting["regimes"]}
        np.testing.assert_allclose(np.mean(np.sum(1 / np.array(spectra), axis=1)) / rows, unit, rtol=0.02)
    for regime, law in laws.items():
        paths = np.array([run[regime] for run in runs])
        z = (paths.mean(axis=0) - law) / (paths.std(axis=0) / np.sqrt(count))
        assert np.abs(z).max() < 5, regime


@needs_chromium
@pytest.mark.parametrize(
    ("regime", "law"), [("accumulate_subsample", linear.accumulate_subsample), ("mixture", lambda n: linear.mixture(n, 0.3))]
)
def test_rows_drawn_from_many_cost_what_the_law_says(script, regime, law):
    setting = {"d": 2, "rows": 300, "n": 8, "penalty": 0, "share": 0.3, "regimes": [regime]}
    run = (
        f"s => {{ const random = lab.normals(4); return Array.from({{length: 700}}, () => lab.replicate(s, random).{regime}); }}"
    )
    paths = np.array(script.evaluate(run, setting)) / linear.first_risk(2, 300, 1.0)
    z = (paths.mean(axis=0) - law(fits(8))) / (paths.std(axis=0) / np.sqrt(len(paths)))
    assert np.abs(z).max() < 4.5


@needs_chromium
def test_the_keyboard_moves_a_slider_the_words_the_command_and_the_address(visit):
    page = visit()
    box, slider = page.locator("#lab-regimes"), page.get_by_role("slider", name="Rounds n (model fits)").first
    assert (
        "After 50 rounds the error is 1.63 times the first if you keep the data, 50 times if you replace"
        in box.locator(".said").inner_text()
    )
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert "After 51 rounds" in box.locator(".said").inner_text()
    assert box.locator("code").inner_text() == 'make run CHAPTER=linear_models P="d=10 n_samples=100 n_generations=51"'
    assert slider.get_attribute("aria-valuetext") == "51"
    assert (
        page.evaluate("location.hash") == "#lab-regimes:regime=accumulate,n_generations=51,d=10,n_samples=100,penalty=0,share=0.1"
    )
    page.get_by_label("replace: the newest data alone").focus()
    page.keyboard.press("Space")
    assert "regime=replace," in page.evaluate("location.hash")
    rows = page.get_by_role("slider", name="Rows per feature")
    answers = []
    for place in ("Home", "End"):
        rows.focus()
        page.keyboard.press(place)
        answers.append(page.locator("#lab-mixture .said").inner_text().partition(".")[0])
    assert answers == ["Keep them", "More of this mixture will not help; drop them"]


@needs_chromium
def test_points_are_simulated_beside_the_lines(visit):
    page = visit("#lab-regimes:n_generations=6,d=3,n_samples=30")
    said = page.locator("#lab-regimes .points", has_text="theory says")
    said.wait_for()
    counted, mean, two, law = re.search(
        r"Points: (\d+) loops .* at ([\d.]+) ± ([\d.]+); theory says ([\d.]+)\.", said.inner_text()
    ).groups()
    assert int(counted) == 200
    assert float(law) == pytest.approx(linear.accumulate(6), abs=0.01)
    assert abs(float(mean) - float(law)) < 2.5 * float(two)


@needs_chromium
def test_a_setting_outside_the_theory_is_said_in_words(visit):
    box = visit("#lab-regimes:d=32,n_samples=20").locator("#lab-regimes")
    assert box.locator(".said").inner_text().startswith("With 32 features you need at least 34 rows, and here are 20: ")
    assert box.locator(".chart").inner_html() == ""


@needs_chromium
def test_a_link_restores_a_setting_and_an_anchor_stays(visit):
    page = visit(quote("#lab-mixture:good=1,share=0.01,rows=30,colour=red", safe="#:=,"))
    expected = float(ridge.hurt_size(0.01, 1.0, 1.0))
    assert f"They hurt from {expected:.3g} rows per feature on" in page.locator("#lab-mixture .said").inner_text()
    page.evaluate("location.hash = '#lab-mixture:share=x,good=0.1'")
    page.locator("#lab-mixture code", has_text="quality=0.1").wait_for()
    assert page.locator("#lab-mixture label > span").nth(1).inner_text() == "1 %"
    page = visit("#an-anchor")
    page.locator("#lab-chain .said").wait_for()
    assert page.evaluate("location.hash") == "#an-anchor"


EXTREMES = """([name, options]) => {
  const form = document.querySelector(`#lab-${name} form`), place = form.parentElement, found = [];
  for (const setting of options) {
    for (const [key, value] of Object.entries(setting)) form.elements[key].value = value;
    form.dispatchEvent(new Event('input', {bubbles: true}));
    const said = place.querySelector('.said').textContent, command = place.querySelector('code').textContent;
    found.push([said, place.innerHTML.match(/NaN|Infinity|undefined|null/)?.[0], command]);
  }
  return found;
}"""


@needs_chromium
@pytest.mark.parametrize("name", lab.WIDGETS)
def test_no_corner_shows_what_is_no_number_and_the_chapter_takes_every_command(visit, name):
    page = visit()
    controls = page.evaluate(
        f"Object.entries(lab.widgets.{name}.controls).map(([key, {{values, options}}]) => "
        "[key, values ? [0, values.length - 1].map(String) : Object.keys(options)])"
    )
    settings = [dict(zip(dict(controls), at)) for at in itertools.product(*dict(controls).values())]
    found = page.evaluate(EXTREMES, [name, settings])
    for said, no_number, _ in found:
        assert len(said) > 40
        assert no_number is None, said
    for command in {command for *_, command in found}:
        chapter, parameters = re.fullmatch(r'make run CHAPTER=(\w+) P="(.*)"', command).groups()
        assert chapters.planned("laptop", chapter, parameters)


# What of a widget is wider than its place.
CUT = """() => [...document.querySelectorAll('.lab .live *')]
  .filter(x => x.namespaceURI.endsWith('xhtml') && x.clientWidth && x.scrollWidth > x.clientWidth + 2)
  .map(x => x.outerHTML.slice(0, 80))"""


@needs_chromium
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_widgets_fit_the_screen(visit, scheme, width):
    page = visit(width=width, color_scheme=scheme, reduced_motion="reduce")
    assert page.locator(".lab .still").first.is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 1
    assert page.evaluate(CUT) == []
    names = page.evaluate("[...document.querySelectorAll('.lab input')].map(x => x.labels[0]?.textContent.trim().length ?? 0)")
    assert min(names) > 3
    assert page.locator(".lab svg[role=img][aria-label][aria-describedby]").count() == len(lab.WIDGETS)


@needs_chromium
def test_the_chains_are_those_of_the_laws(script):
    state = {"ddof": "1", "n_samples": 12, "n_fits": 30, "bias": 0.9}
    found = np.log(script.evaluate("s => lab.widgets.chain.theory(s).chains", state))
    mean, variance = gaussian.log_determinant(30, 12, 1, bias=0.9)
    assert found.shape == (20, 30)
    assert np.abs((found.mean(axis=0) - mean) / np.sqrt(variance / 20)).max() < 3.5
    np.testing.assert_allclose(found.var(axis=0)[-1], variance[-1], rtol=0.7)
