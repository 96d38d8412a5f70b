// The theory lab: the laws of the book, each as in collapse_utils.theory, under the reader's hand.
(() => {
"use strict";

// Laws. Paths run over the fits 1 … n; what lies outside a law's domain is refused in words.
function times(n, f) { return Array.from({ length: n }, (_, k) => f(k)); }
const path = (n, term) => times(n, (k) => term(k + 1));
const sums = (n, term) => { let sum = 0; return path(n, (i) => (sum += term(i))); };
const refuse = (sentence) => { throw new RangeError(sentence); };

const laws = {
  first_risk(d, rows, noise) {
    if (rows < d + 2) refuse(`With ${d} features you need at least ${d + 2} rows, and here are ${rows}: the expected error is infinite. Take more rows or fewer features.`);
    return (noise ** 2 * d) / (rows - d - 1);
  },
  replace: (n) => path(n, (i) => i),
  accumulate: (n) => sums(n, (i) => 1 / i ** 2),
  replace_multiple: (n) => sums(n, (i) => 1 / i),
  accumulate_subsample: (n) => sums(n, (i) => (i > 1 ? (2 - 1 / (i - 1)) / i ** 2 : 1)).map((pool, k) => pool + 1 - 1 / (k + 1)),
  ridge_replace(n, eigenvalues, penalty, noise) {
    const risk = times(n, () => 0);
    for (const g of eigenvalues) {
      const [h, gain] = direction(g, penalty, noise);
      let power = 1, variance = 0;
      for (let k = 0; k < n; k++) {
        variance += gain * power ** 2;
        power *= h;
        risk[k] += (1 - power) ** 2 + variance;
      }
    }
    return risk;
  },
  ridge_accumulate(n, eigenvalues, penalty, noise) {
    const risk = times(n, () => 0);
    for (const g of eigenvalues) {
      const [h, gain] = direction(g, penalty, noise);
      let mean = h, variance = gain;
      for (let k = 1; k <= n; k++) {
        if (k > 1) {
          const keep = 1 - (1 - h) / k;
          mean *= keep;
          variance = keep ** 2 * variance + gain / k ** 2;
        }
        risk[k - 1] += (1 - mean) ** 2 + variance;
      }
    }
    return risk;
  },
  isotropic(rows, share, noise, quality) {
    if (!(rows > 1)) refuse(`${fmt(rows)} rows per feature are too few: least squares needs more than one.`);
    const u = 1 / (rows - 1);
    return noise ** 2 * u + (share ** 2 + share * (1 - share) * u) * quality;
  },
  hurt_size(share, noise, quality) {
    if (!(share > 0 && share < 1 && quality > 0)) refuse("The share lies between 0 and 1, the systematic error above 0.");
    const p = 1 - share, a = p * share * quality;
    const b = noise ** 2 + (share * (1 + p) - p ** 2) * quality, c = (share - p) * quality;
    return (b + Math.sqrt(b ** 2 - 4 * a * c)) / (2 * a);
  },
  floor_size: (share, noise, quality) => noise ** 2 / (share ** 2 * quality),
  gaussian_replace: (n, rows, ddof, bias) => path(n, (i) => shrink(rows, ddof) * (shrink(rows, ddof) * bias) ** (i - 1)),
  gaussian_accumulate(n, rows, ddof, bias) {
    let pool = 0, batch = 1;
    return path(n, (i) => {
      pool = ((i - 1) * pool + batch * (1 - 1 / (i * rows))) / i;
      const variance = (pool * i * rows) / (i * rows - ddof);
      batch = bias * variance;
      return variance;
    });
  },
  log_determinant(n, rows, ddof, bias) { // its mean, d = 1
    const step = digamma((rows - 1) / 2) + Math.LN2 - Math.log(rows - ddof);
    return path(n, (i) => i * step + (i - 1) * Math.log(bias));
  },
};
const direction = (g, penalty, noise) => [g / (g + penalty), (noise ** 2 * g) / (g + penalty) ** 2];
const shrink = (rows, ddof) => (rows - 1) / (rows - ddof);
function digamma(x) { // recurrence, then the asymptotic series
  let sum = 0;
  for (; x < 12; x++) sum -= 1 / x;
  const y = 1 / x ** 2;
  return sum + Math.log(x) - 1 / (2 * x) - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - (y * 691) / 32760)))));
}

// Random numbers and the loop. A worker gets these functions as text: they name only each other.
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
function factored(x, picked, d, penalty) { // Cholesky, of XᵀX/T + λ over the picked rows; null if singular
  const a = new Float64Array(d * d), count = picked.length;
  for (const row of picked) for (let i = 0, at = row * d; i < d; i++) for (let j = 0, v = x[at + i] / count; j <= i; j++) a[i * d + j] += v * x[at + j];
  for (let i = 0; i < d; i++) {
    a[i * d + i] += penalty;
    for (let j = 0; j <= i; j++) {
      let sum = a[i * d + j];
      for (let k = 0; k < j; k++) sum -= a[i * d + k] * a[j * d + k];
      if (i === j && !(sum > 1e-12)) return null;
      a[i * d + j] = i === j ? Math.sqrt(sum) : sum / a[j * d + j];
    }
  }
  return a;
}
function fitted(x, picked, label, factor, d) { // least squares or ridge on rows with labels label(k)
  const w = new Float64Array(d), count = picked.length;
  for (let k = 0; k < count; k++) for (let j = 0, at = picked[k] * d, y = label(k) / count; j < d; j++) w[j] += x[at + j] * y;
  for (let i = 0; i < d; i++) { for (let j = 0; j < i; j++) w[i] -= factor[i * d + j] * w[j]; w[i] /= factor[i * d + i]; }
  for (let i = d - 1; i >= 0; i--) { for (let j = i + 1; j < d; j++) w[i] -= factor[j * d + i] * w[j]; w[i] /= factor[i * d + i]; }
  return w;
}
// The squared error of every fit of one loop; null where a subset has too few different rows.
function loop(regime, x, truth, rows, n, penalty, factor, random) {
  const d = truth.length, all = times(rows, (i) => i), risk = new Float64Array(n);
  const subset = regime === "accumulate_subsample", copied = regime === "replace_multiple", kept = new Float64Array(subset ? n * rows : rows), deck = new Uint32Array(kept.length);
  let w = truth;
  for (let k = 1; k <= n; k++) {
    for (let i = 0; i < rows; i++) {
      let mean = 0, label = 0, at = (k - 1) * rows + i;
      for (let j = 0; j < d; j++) mean += x[i * d + j] * w[j];
      const copies = copied ? k : 1;
      for (let c = 0; c < copies; c++) label += mean + random.normal();
      if (subset) { kept[at] = label; deck[at] = at; }
      else kept[i] = regime === "accumulate" ? kept[i] + label : label / copies;
    }
    if (subset) {
      for (let i = 0; i < rows; i++) { // a subset: the first cards of a deck, shuffled as far as it is read
        const j = i + Math.floor(random.uniform() * (k * rows - i)), card = deck[j];
        deck[j] = deck[i];
        deck[i] = card;
      }
      const picked = deck.slice(0, rows).map((card) => card % rows), own = factored(x, picked, d, penalty);
      if (own === null) return null;
      w = fitted(x, picked, (i) => kept[deck[i]], own, d);
    } else w = fitted(x, all, (i) => (regime === "accumulate" ? kept[i] / k : kept[i]), factor, d);
    for (let j = 0; j < d; j++) risk[k - 1] += (w[j] - truth[j]) ** 2;
  }
  return risk;
}
function replicate({ d, rows, n, penalty, regimes }, random) { // one design, one truth, every regime on them
  const x = Float64Array.from(times(rows * d, random.normal)), truth = times(d, random.normal);
  const factor = factored(x, times(rows, (i) => i), d, penalty);
  return Object.fromEntries(regimes.map((regime) => [regime, loop(regime, x, truth, rows, n, penalty, factor, random)]));
}
function work({ data: setting }) { // in the worker: moments after every replicate, for ten seconds at most
  const random = normals(1), moments = {}, started = Date.now();
  for (let r = 1; r <= 200 && (r < 9 || Date.now() - started < 10000); r++) {
    for (const [regime, risk] of Object.entries(replicate(setting, random))) {
      const seen = (moments[regime] ??= { mean: times(setting.n, () => 0), m2: times(setting.n, () => 0) });
      if (risk === null) seen.broken = true;
      else risk.forEach((value, k) => { const step = value - seen.mean[k]; seen.mean[k] += step / r; seen.m2[k] += step * (value - seen.mean[k]); });
    }
    postMessage({ count: r, moments });
  }
  postMessage({ done: true });
}
const WORKER = [times, normals, factored, fitted, loop, replicate, work].map(String).join("\n") + "\nonmessage = work;";
function simulated(setting, seen) { // calls seen after every replicate and at the end; returns what stops it
  const address = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" })), worker = new Worker(address);
  worker.onmessage = ({ data }) => seen(data);
  worker.postMessage(setting);
  return () => { worker.terminate(); URL.revokeObjectURL(address); };
}

// Eigenvalues of XᵀX/T of a random design, from its bidiagonal form (Dumitriu & Edelman 2002), by implicit QL.
function gamma(shape, random) { // Marsaglia & Tsang 2000, shape ≥ 1
  const a = shape - 1 / 3, c = 1 / Math.sqrt(9 * a);
  for (;;) {
    const z = random.normal(), v = (1 + c * z) ** 3;
    if (v > 0 && Math.log(random.uniform()) < 0.5 * z * z + a - a * v + a * Math.log(v)) return a * v;
  }
}
const chi2 = (k, random) => (k > 1 ? 2 * gamma(k / 2, random) : random.normal() ** 2);
function spectrum(d, rows, random) {
  const a = times(d, (i) => chi2(rows - i, random)), b = times(d - 1, (i) => chi2(d - 1 - i, random));
  const main = a.map((v, i) => v + (i ? b[i - 1] : 0)), off = [...b.map((v, i) => Math.sqrt(v * a[i])), 0];
  const { abs } = Math;
  for (let l = 0; l < d; l++) {
    for (;;) {
      let m = l;
      while (m < d - 1 && abs(off[m]) > 1e-15 * (abs(main[m]) + abs(main[m + 1]))) m++;
      if (m === l) break;
      let g = (main[l + 1] - main[l]) / (2 * off[l]), r = Math.hypot(g, 1), s = 1, c = 1, p = 0;
      g = main[m] - main[l] + off[l] / (g + (g < 0 ? -r : r));
      for (let i = m - 1; i >= l; i--) {
        const f = s * off[i], h = c * off[i];
        off[i + 1] = r = Math.hypot(f, g);
        s = f / r;
        c = g / r;
        g = main[i + 1] - p;
        r = (main[i] - g) * s + 2 * c * h;
        p = s * r;
        main[i + 1] = g + p;
        g = c * r - h;
      }
      main[l] -= p;
      off[l] = g;
      off[m] = 0;
    }
  }
  return main.map((v) => v / rows);
}
const drawn = new Map();
function spectra(d, rows) { // kept while λ or n move
  const key = `${d},${rows}`;
  if (!drawn.has(key)) {
    const random = normals(7);
    drawn.clear();
    drawn.set(key, times(Math.max(6, Math.ceil(1200 / d)), () => spectrum(d, rows, random)));
  }
  return drawn.get(key);
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
  const line = (values, style) => `<path fill="none" d="M${values.map((v, k) => `${sx(k + 1).toFixed(1)} ${sy(v).toFixed(1)}`).join("L")}" ${style}/>`;
  return { sx, sy, wrap, line };
}
const SHAPES = {
  replace: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
  replace_multiple: "M-4.5-4h9L0 5z",
  accumulate: "M-4-4h8v8h-8z",
  accumulate_subsample: "M-4.5 4h9L0-5z",
};
const COLOURS = { replace: "#D55E00", replace_multiple: "#E69F00", accumulate: "#0072B2", accumulate_subsample: "#009E73" };
const NAMES = Object.keys(COLOURS);
const AREAS = { keep: "#0072B2", drop: "#E69F00", floor: "#D55E00" };
const icon = (shape, colour, opacity = 1) => `<svg class="swatch" viewBox="-8 -8 16 16" aria-hidden="true"><path d="${shape}" fill="${colour}" fill-opacity="${opacity}"/></svg>`;
const swatch = (regime) => icon(SHAPES[regime], COLOURS[regime]), square = (colour) => icon("M-7-7H7V7H-7z", colour, 0.4);

// Of a simulation: the moments of a regime, if it can be shown; the mean at fit k, and two standard errors.
const has = (runs, name) => (runs?.count > 2 && !runs.moments[name]?.broken ? runs.moments[name] : null);
const point = ({ count, moments }, name, k, unit) => [moments[name].mean[k - 1] / unit, (2 * Math.sqrt(moments[name].m2[k - 1] / (count - 1) / count)) / unit];

// The widgets: controls (values that a slider steps through, or options), what they say and draw.
const regimes = {
  title: "Try it: one loop, four ways to treat the data",
  chapter: "linear_models",
  controls: {
    regime: { label: "Regime", options: { replace: "replace: the newest data alone", replace_multiple: "replace-multiple: as many new rows as if all were kept", accumulate: "accumulate: keep everything", accumulate_subsample: "accumulate-subsample: a random subset of everything" }, start: "accumulate", mark: swatch },
    n_generations: { label: "Rounds n (model fits)", values: range(2, 200), start: 50 },
    d: { label: "Features d", values: range(2, 200), start: 10 },
    n_samples: { label: "Rows T of a round", values: [...range(6, 199), ...range(200, 495, 5), ...range(500, 2000, 25)], start: 100 },
    penalty: { label: "Ridge penalty λ", values: [0, ...grid(0.001, 1)], start: 0 },
  },
  command: ({ n_generations, d, n_samples, penalty }) => `d=${d} n_samples=${n_samples} n_generations=${Math.max(5, n_generations)}${penalty ? ` penalty=${penalty}` : ""}`,
  remark: ({ n_generations, d, n_samples }) => (n_samples < d + 4 ? `The chapter wants at least ${d + 4} rows.` : n_generations < 5 ? "The chapter runs at least 5 fits." : ""),
  theory({ n_generations: n, d, n_samples: rows, penalty }) {
    const unit = laws.first_risk(d, rows, 1), designs = penalty ? spectra(d, rows) : [];
    const ridge = (law) => law(n, designs.flat(), penalty, 1 / Math.sqrt(rows)).map((v) => v / designs.length / unit);
    if (penalty) return { unit, replace: ridge(laws.ridge_replace), accumulate: ridge(laws.ridge_accumulate) };
    return { unit, ...Object.fromEntries(NAMES.map((name) => [name, laws[name](n)])) };
  },
  subset: ({ d, n_samples, penalty }) => penalty > 0 || n_samples >= 3 * d + 10,
  say(state, { replace, replace_multiple, accumulate, accumulate_subsample }) {
    const { n_generations: n, penalty } = state, last = (path) => fmt(path[n - 1]);
    const rules = penalty
      ? [`With the penalty ${fmt(penalty)} the error after ${n} rounds is ${last(accumulate)} first errors if you keep the data and ${last(replace)} if you replace them. Without it these would be ${last(laws.accumulate(n))} and ${n}.`, "A first error is that of a first fit without penalty. The lines are the law given the design, averaged over random designs; the other two regimes have points only, for we know no closed form."]
      : [`After ${n} rounds the error is ${last(accumulate)} times the first if you keep the data, ${n} times if you replace them.`, `With as many new rows as if you had kept them it is ${last(replace_multiple)} times, with a random subset of everything ${last(accumulate_subsample)} times. However long you go on, keeping everything never costs more than 1.645 times.`];
    if (!regimes.subset(state)) rules.push("The subset is not simulated: with so few rows it has hardly more different ones than features.");
    else if (!penalty && state.n_samples < 20 * state.d) rules.push("The law of the subset is for many rows per feature; with few its points lie above the line.");
    if (state.n_samples < state.d + 4) rules.push("With so few rows single loops go far astray: the points do not settle.");
    return rules;
  },
  draw(width, state, theory, runs) {
    const { n_generations: n, regime } = state, shown = [...new Set(path(14, (k) => Math.round(n ** ((k - 1) / 13))))];
    const tops = NAMES.flatMap((name) => [...(theory[name] ?? []), ...(has(runs, name)?.mean ?? []).map((v) => v / theory.unit)]);
    const low = Math.min(0.8, ...tops.map((v) => 0.9 * v)), chart = frame(width, [1, n], [low, 1.3 * Math.max(2, ...tops)], "fit n", "error / error of the first fit");
    const marks = [...NAMES.filter((name) => name !== regime), regime].map((name) => {
      const bold = name === regime, colour = COLOURS[name];
      const points = has(runs, name) ? shown.map((k) => {
        const [mean, two] = point(runs, name, k, theory.unit), at = chart.sx(k);
        return `<path d="M${at} ${chart.sy(mean + two)}V${chart.sy(Math.max(mean - two, 1e-9))}" stroke="${colour}"/><path d="${SHAPES[name]}" transform="translate(${at} ${chart.sy(mean)})" fill="${colour}"/>`;
      }) : [];
      const line = theory[name] ? chart.line(theory[name], `stroke="${colour}" stroke-width="${bold ? 3.5 : 1.3}"`) : "";
      return `<g opacity="${bold ? 1 : 0.75}">${line}${points.join("")}</g>`;
    });
    return chart.wrap(marks.join(""));
  },
  simulate(state) {
    const { n_generations: n, d, n_samples: rows, penalty } = state, names = regimes.subset(state) ? NAMES : NAMES.slice(0, 3);
    return { d, rows, n, penalty, regimes: names };
  },
  measured({ regime, n_generations: n }, theory, runs) {
    if (!has(runs, regime)) return "";
    const [mean, two] = point(runs, regime, n, theory.unit);
    return ` At the last fit ${regime.replace("_", "-")} stands at ${fmt(mean)} ± ${fmt(two, 2)}${theory[regime] ? `; theory says ${fmt(theory[regime][n - 1])}` : ""}.`;
  },
};

const mixture = {
  title: "Keep these rows, drop them, or stop buying?",
  chapter: "strong_collapse",
  controls: {
    good: { label: "Systematic error / label noise, q", values: grid(0.01, 10), start: 0.1 },
    share: { label: "Share of its rows, p", values: grid(0.001, 0.9), start: 0.01, show: (v) => `${fmt(100 * v)} %` },
    rows: { label: "Rows per feature, n/d", values: grid(1.1, 1e7), start: 2000 },
  },
  command: ({ good }) => `noise=1 quality=${good}${good > 0.01 && good <= 0.3 ? ` good=${good}` : ""}`,
  remark: ({ good }) => `It runs all shares and sizes${good > 0.01 && good <= 0.3 ? "" : "; its own diagram stays at q = 0.1"}.`,
  theory({ good, share, rows }) {
    const hurt = laws.hurt_size(share, 1, good), floor = laws.floor_size(share, 1, good), real = (1 - share) * rows;
    return { hurt, floor, mixed: laws.isotropic(rows, share, 1, good), alone: real > 1 ? laws.isotropic(real, 0, 1, good) : null, real };
  },
  answer: ({ rows }, { hurt, floor }) => (rows <= hurt ? "keep" : rows <= Math.max(hurt, floor) ? "drop" : "floor"),
  say(state, found) {
    const { hurt, floor, mixed, alone, real } = found, answer = mixture.answer(state, found);
    const words = { keep: "Keep them.", drop: "Drop them.", floor: "More of this mixture will not help; drop them." };
    const without = alone === null ? `without them you cannot fit: ${fmt(real)} real rows per feature are left, and least squares needs more than one` : `without them ${fmt(alone)}`;
    const rules = [`<b>${words[answer]}</b>`, `With them the error is ${fmt(mixed)}, ${without} (in units of the noise variance).`, `They hurt from ${fmt(hurt)} rows per feature on, and from ${fmt(floor)} on more of this mixture no longer helps.`];
    if (answer === "keep" && state.rows > floor) rules.push("You have so few real rows that dropping is worse, but more of this mixture gains little.");
    return rules;
  },
  draw(width, state, found) {
    const all = path(81, (k) => 0.001 * 900 ** ((k - 1) / 80)), chart = frame(width, [0.001, 0.9], [1.1, 1e7], "share of rows from the source", "rows per feature", (v) => `${fmt(100 * v)} %`);
    const [hurt, floor] = [laws.hurt_size, laws.floor_size].map((law) => all.map((p) => law(p, 1, state.good)));
    const top = hurt.map((v, k) => Math.max(v, floor[k])), to = (values) => values.map((v, k) => `${chart.sx(all[k]).toFixed(1)} ${chart.sy(v).toFixed(1)}`);
    const area = (from, until, colour) => `<path d="M${[...to(from), ...to(until).reverse()].join("L")}z" fill="${colour}" fill-opacity=".28"/>`;
    const flat = (v) => all.map(() => v), curve = (values, dash) => `<path d="M${to(values).join("L")}" fill="none" stroke="currentColor" stroke-dasharray="${dash}"/>`;
    const x = chart.sx(state.share), y = chart.sy(state.rows), colour = AREAS[mixture.answer(state, found)];
    const here = `<path d="M${x} 0V${HEIGHT}M0 ${y}H${width}" stroke="currentColor" stroke-opacity=".45" stroke-dasharray="2 3"/><circle cx="${x}" cy="${y}" r="7" fill="${colour}" stroke="currentColor" stroke-width="2"/>`;
    return chart.wrap(area(flat(1.1), hurt, AREAS.keep) + area(hurt, top, AREAS.drop) + area(top, flat(1e7), AREAS.floor) + curve(hurt, "") + curve(floor, "6 4") + here);
  },
  key: `<p class="key"><span>${square(AREAS.keep)} keep them</span><span>${square(AREAS.drop)} they hurt: drop them</span><span>${square(AREAS.floor)} more will not help</span><span>solid: hurt from here on; dashed: the floor</span></p>`,
};

const chain = {
  title: "Try it: twenty Gaussian chains, and what their mean hides",
  chapter: "gaussian",
  controls: {
    ddof: { label: "Divisor of the variance", options: { 0: "M (ddof = 0)", 1: "M − 1 (ddof = 1)" }, start: "1" },
    n_samples: { label: "Rows M of a round", values: range(5, 200), start: 10 },
    n_fits: { label: "Rounds n (model fits)", values: range(12, 200), start: 50 },
    bias: { label: "Samples come from N(μ, λΣ): λ", values: range(5, 100).map((v) => v / 100), start: 1 },
  },
  command: ({ n_samples, n_fits, bias }) => `n_samples=${n_samples} n_fits=${n_fits}${bias < 1 ? ` sampling_bias=${bias}` : ""}`,
  theory({ ddof, n_samples: rows, n_fits: n, bias }) {
    const random = normals(3), chains = times(20, () => {
      let variance = 1 / bias; // of M Gaussian rows: χ²/(M − ddof) times theirs
      return path(n, () => (variance *= (bias * chi2(rows - 1, random)) / (rows - ddof)));
    });
    return { chains, mean: laws.gaussian_replace(n, rows, +ddof, bias), typical: laws.log_determinant(n, rows, +ddof, bias).map(Math.exp), kept: laws.gaussian_accumulate(n, rows, +ddof, bias) };
  },
  say({ n_fits: n }, { chains, mean, typical, kept }) {
    const low = chains.filter((one) => one[n - 1] < mean[n - 1]).length;
    return [`After ${n} rounds of replacing the data the mean variance is ${fmt(mean[n - 1])}, a typical one ${fmt(typical[n - 1])}.`, `Of the twenty chains here ${low} lie below the mean. If you keep all data the mean is ${fmt(kept[n - 1])}.`];
  },
  draw(width, { n_fits: n }, { chains, mean, typical, kept }) {
    const all = [...chains.flat(), ...mean, ...typical, ...kept], low = Math.max(Math.min(...all), 1e-60) / 1.5;
    const chart = frame(width, [1, n], [low, 1.5 * Math.max(...all)], "fit n", "fitted variance"), orange = `stroke="${COLOURS.replace}"`;
    const thin = chains.map((one) => chart.line(one, `${orange} stroke-width=".8" opacity=".5"`)).join("");
    return chart.wrap(thin + chart.line(typical, `${orange} stroke-width="3.5"`) + chart.line(mean, `stroke="currentColor" stroke-width="2" stroke-dasharray="7 4"`) + chart.line(kept, `stroke="${COLOURS.accumulate}" stroke-width="3"`));
  },
  key: '<p class="key"><span>thin: twenty chains; thick: a typical chain; dashed: their exact mean</span><span>' + swatch("accumulate") + " mean if all data are kept</span></p>",
};

// A widget on its page; its setting stands in the address.
const WIDGETS = { regimes, mixture, chain };
const nearest = (values, wanted) => values.reduce((best, v, k) => (Math.abs(v - wanted) < Math.abs(values[best] - wanted) ? k : best), 0);
function control(name, { label, values, options, start, mark = () => "" }, id) {
  if (!options) return `<label>${label} <span aria-hidden="true"></span><input type="range" name="${name}" min="0" max="${values.length - 1}" value="${nearest(values, start)}"></label>`;
  const radios = Object.entries(options).map(([value, words]) => `<label><input type="radio" name="${name}" value="${value}"${value === start ? " checked" : ""}> ${mark(value)} ${words}</label>`);
  return `<fieldset aria-labelledby="${id}-${name}"><b id="${id}-${name}">${label}</b>${radios.join("")}</fieldset>`;
}
function build(box) {
  const { id } = box, widget = WIDGETS[id.slice(4)], controls = Object.entries(widget.controls), calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
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
    try { stop = simulated(widget.simulate(state), seen); } catch { put(".points", "This browser runs no simulation; the lines are theory."); }
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
window.lab = { laws, normals, replicate, spectrum, COLOURS, AREAS, WIDGETS };
document.addEventListener("DOMContentLoaded", () => document.querySelectorAll('.lab[id^="lab-"]').forEach(build));
})();
