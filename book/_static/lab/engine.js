// The theory lab: sliders under the laws of the book. Each widget has a file of its own, which adds it and its laws, each as in
// collapse_utils.theory: paths run over the fits 1 … n; what lies outside a law's domain is refused in words.
(() => {
"use strict";

function times(n, f) { return Array.from({ length: n }, (_, k) => f(k)); }
const path = (n, term) => times(n, (k) => term(k + 1));
const sums = (n, term) => { let sum = 0; return path(n, (i) => (sum += term(i))); };
const refuse = (sentence) => { throw new RangeError(sentence); };

// Random numbers.
function normals(seed) {
  let state = seed >>> 0, spare = null;
  const uniform = () => { // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const normal = () => { // Marsaglia's polar method
    if (spare !== null) { const kept = spare; spare = null; return kept; }
    let u, v, s;
    do { u = 2 * uniform() - 1; v = 2 * uniform() - 1; s = u * u + v * v; } while (s >= 1 || s === 0);
    const f = Math.sqrt((-2 * Math.log(s)) / s);
    spare = v * f;
    return u * f;
  };
  return { uniform, normal };
}
function gamma(shape, random) { // Marsaglia & Tsang 2000, shape ≥ 1
  const a = shape - 1 / 3, c = 1 / Math.sqrt(9 * a);
  for (;;) {
    const z = random.normal(), v = (1 + c * z) ** 3;
    if (v > 0 && Math.log(random.uniform()) < 0.5 * z * z + a - a * v + a * Math.log(v)) return a * v;
  }
}
const chi2 = (k, random) => (k > 1 ? 2 * gamma(k / 2, random) : random.normal() ** 2);
function legendre(order) { // nodes and weights of Gauss and Legendre on [−1, 1], by Newton's method
  return times(order, (i) => {
    let x = -Math.cos((Math.PI * (i + 0.75)) / (order + 0.5)), slope = 1;
    for (let turn = 0; turn < 6; turn++) {
      let before = 1, now = x;
      for (let k = 2; k <= order; k++) [before, now] = [now, ((2 * k - 1) * x * now - (k - 1) * before) / k];
      slope = (order * (x * now - before)) / (x * x - 1);
      x -= now / slope;
    }
    return [x, 2 / ((1 - x * x) * slope ** 2)];
  });
}
function digamma(x) { // recurrence, then the asymptotic series
  let sum = 0;
  for (; x < 12; x++) sum -= 1 / x;
  const y = 1 / x ** 2;
  return sum + Math.log(x) - 1 / (2 * x) - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - (y * 691) / 32760)))));
}

// Numbers in words and on axes.
const raised = (k) => String(k).replace(/[-\d]/g, (c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻");
function fmt(value, digits = 3) {
  if (value === 0) return "0";
  const size = Math.abs(value), power = Math.floor(Math.log10(size));
  if (size < 1e-3 || size >= 1e7) return `${Number((value / 10 ** power).toPrecision(digits))} × 10${raised(power)}`;
  const rounded = size >= 10 ** digits ? Math.round(value) : Number(value.toPrecision(digits));
  return size >= 1e4 ? String(rounded).replace(/\B(?=(\d{3})+$)/g, ",") : String(rounded);
}
const grid = (low, high) => { // twenty values a decade, of two digits
  const values = [];
  for (let k = Math.ceil(20 * Math.log10(low) - 1e-9); k <= 20 * Math.log10(high) + 1e-9; k++) values.push(Number((10 ** (k / 20)).toPrecision(2)));
  return [...new Set([low, ...values, high])];
};
const range = (low, high, step = 1) => times(Math.floor((high - low) / step) + 1, (k) => low + k * step);

// SVG with two logarithmic axes, in the colours of the text around it.
const HEIGHT = 340, LEFT = 58, TOP = 30, FOOT = HEIGHT - 46;
let clips = 0;
const log = ([low, high], [from, to]) => (v) => from + ((to - from) * Math.log(Math.min(Math.max(v, low / 10), high * 10) / low)) / Math.log(high / low);
function ticks([low, high]) {
  const decades = Math.log10(high / low), step = Math.max(1, Math.ceil(decades / 7)), values = [];
  for (let k = Math.floor(Math.log10(low)); k <= Math.log10(high) + 1e-9; k += step) for (const m of decades < 2.5 ? [1, 2, 5] : [1]) values.push(m * 10 ** k);
  return values.filter((v) => v >= low * 0.999 && v <= high * 1.001);
}
const tick = (v) => (v < 1e-3 || v > 1e4 ? `10${raised(Math.round(Math.log10(v)))}` : fmt(v));
const text = (x, y, words, anchor = "middle") => `<text x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`;
function frame(width, x, y, xlabel, ylabel, xtick = tick) {
  const end = width - 16, sx = log(x, [LEFT, end]), sy = log(y, [FOOT, TOP]);
  const across = ticks(x).map((v) => `<path class="grid" d="M${sx(v)} ${FOOT}V${TOP}"/>${text(sx(v), FOOT + 18, xtick(v))}`);
  const up = ticks(y).map((v) => `<path class="grid" d="M${LEFT} ${sy(v)}H${end}"/>${text(LEFT - 7, sy(v) + 4, tick(v), "end")}`);
  const names = `${text((LEFT + end) / 2, HEIGHT - 8, xlabel)}<text x="4" y="16">${ylabel}</text>`;
  const wrap = (marks) => `<clipPath id="lab-clip-${++clips}"><path d="M${LEFT - 6} ${TOP}H${end + 6}V${FOOT}H${LEFT - 6}"/></clipPath>${across.join("")}${up.join("")}${names}<g clip-path="url(#lab-clip-${clips})">${marks}</g>`;
  const to = (values, at) => values.map((v, k) => `${sx(at ? at[k] : k + 1).toFixed(1)} ${sy(v).toFixed(1)}`);
  const line = (values, style, at) => `<path fill="none" d="M${to(values, at).join("L")}" ${style}/>`;
  const area = (from, until, colour, at) => `<path d="M${[...to(from, at), ...to(until, at).reverse()].join("L")}z" fill="${colour}" fill-opacity=".28"/>`;
  return { sx, sy, wrap, line, area };
}
const SHAPES = {
  replace: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
  replace_multiple: "M-4.5-4h9L0 5z",
  accumulate: "M-4-4h8v8h-8z",
  accumulate_subsample: "M-4.5 4h9L0-5z",
  mixture: "M0-5.5L5.5 0L0 5.5L-5.5 0z",
};
const COLOURS = { replace: "#D55E00", replace_multiple: "#E69F00", accumulate: "#0072B2", accumulate_subsample: "#009E73", mixture: "#CC79A7" };
const icon = (shape, colour, opacity = 1) => `<svg class="swatch" viewBox="-8 -8 16 16" aria-hidden="true"><path d="${shape}" fill="${colour}" fill-opacity="${opacity}"/></svg>`;
const swatch = (regime) => icon(SHAPES[regime], COLOURS[regime]), square = (colour) => icon("M-7-7H7V7H-7z", colour, 0.4);

// A widget on its page; its setting stands in the address.
const nearest = (values, wanted) => values.reduce((best, v, k) => (Math.abs(v - wanted) < Math.abs(values[best] - wanted) ? k : best), 0);
function control(name, { label, values, options, start, mark = () => "" }, id) {
  if (!options) return `<label>${label} <span aria-hidden="true"></span><input type="range" name="${name}" min="0" max="${values.length - 1}" value="${nearest(values, start)}"></label>`;
  const radios = Object.entries(options).map(([value, words]) => `<label><input type="radio" name="${name}" value="${value}"${value === start ? " checked" : ""}> ${mark(value)} ${words}</label>`);
  return `<fieldset aria-labelledby="${id}-${name}"><b id="${id}-${name}">${label}</b>${radios.join("")}</fieldset>`;
}
function build(box) {
  const { id } = box, widget = widgets[id.slice(4)], controls = Object.entries(widget.controls), calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const place = document.createElement("div");
  place.innerHTML = `<form aria-label="${widget.title}"><p class="title">${widget.title}</p>${controls.map((one) => control(...one, id)).join("")}</form>
    <div class="picture"><svg class="chart" role="img" aria-label="${widget.title}; in words below" aria-describedby="${id}-said"></svg>${widget.key ?? ""}</div>
    <p class="said" id="${id}-said" aria-live="polite"></p><p class="points"></p><p class="command">In the chapter: <code></code>. <span></span></p>`;
  const form = place.firstChild, at = (query) => place.querySelector(query), svg = at(".chart");
  let runs = null, ended = false, stop = null, timer, visible = false, state, theory;

  const read = () => Object.fromEntries(controls.map(([name, { values }]) => [name, values ? values[form.elements[name].value] : form.elements[name].value]));
  const put = (query, words) => { if (at(query).innerHTML !== words) at(query).innerHTML = words; };
  function picture() {
    const width = Math.max(280, Math.round(svg.clientWidth || 600));
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    svg.innerHTML = theory ? widget.draw(width, state, theory, runs) : "";
  }
  function seen(found) {
    ended = found.done;
    runs = ended ? runs : found;
    if (ended || !calm) show();
  }
  function show() {
    picture();
    if (runs) put(".points", `Points: ${runs.count} loops run in your browser${ended ? "" : " so far"}, every label drawn and fitted, with two standard errors.${ended ? widget.measured(state, theory, runs) : ""}`);
  }
  function simulate() {
    if (!widget.simulate || !theory || !visible || stop) return;
    try { stop = widget.simulate(state, seen); } catch { put(".points", "This browser runs no simulation; the lines are theory."); }
  }
  function restart() {
    stop?.();
    stop = runs = null;
    put(".points", "");
    clearTimeout(timer);
    timer = setTimeout(simulate, 250);
  }
  function update() {
    const told = () => JSON.stringify({ ...state, regime: 0 }), before = told();
    state = read();
    for (const [name, { values, show = (v) => fmt(v, 4) }] of controls) {
      if (!values) continue;
      const input = form.elements[name], words = show(state[name]);
      input.previousElementSibling.textContent = words;
      input.setAttribute("aria-valuetext", words);
    }
    if (told() !== before) restart();
    try {
      theory = widget.theory(state);
      put(".said", widget.say(state, theory).join(" "));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      theory = null;
      put(".said", error.message);
    }
    put("code", `make run CHAPTER=${widget.chapter} P="${widget.command(state)}"`);
    put(".command span", (theory && widget.remark?.(state)) || "");
    place.className = theory ? "live" : "live outside";
    show();
  }
  function restore() {
    const [name, setting] = location.hash.slice(1).split(":");
    if (name !== id || !setting) return;
    for (const one of setting.split(",")) {
      const [key, value] = one.split("=");
      const { values, options } = widget.controls[key] ?? {};
      if (values && Number.isFinite(+value)) form.elements[key].value = nearest(values, +value);
      if (options && value in options) form.elements[key].value = value;
    }
    update();
    box.scrollIntoView();
  }
  box.prepend(place);
  box.classList.add("alive");
  form.addEventListener("input", update);
  form.addEventListener("change", () => history.replaceState(null, "", `#${id}:${Object.entries(state).map((one) => one.join("=")).join(",")}`)); // not on input: browsers refuse hundreds
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", restore);
  new ResizeObserver(picture).observe(svg);
  new IntersectionObserver(([entry]) => { visible = entry.isIntersecting; if (visible && !runs) restart(); }).observe(svg);
  update();
  restore();
}

const laws = {}, widgets = {};
window.lab = { laws, widgets, times, path, sums, refuse, normals, chi2, legendre, digamma, fmt, grid, range, frame, HEIGHT, COLOURS, SHAPES, icon, swatch, square };
document.addEventListener("DOMContentLoaded", () => document.querySelectorAll('.lab[id^="lab-"]').forEach(build));
})();
