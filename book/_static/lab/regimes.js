// One loop, five ways to treat the data: least squares and ridge, with the loop itself run in a worker.
(() => {
"use strict";
const { laws, times, path, sums, refuse, normals, chi2, fmt, grid, range, frame, COLOURS, SHAPES, swatch } = lab;

Object.assign(laws, {
  first_risk(d, rows, noise) {
    if (rows < d + 2) refuse(`With ${d} features you need at least ${d + 2} rows, and here are ${rows}: the expected error is infinite. Take more rows or fewer features.`);
    return (noise ** 2 * d) / (rows - d - 1);
  },
  replace: (n) => path(n, (i) => i),
  accumulate: (n) => sums(n, (i) => 1 / i ** 2),
  replace_multiple: (n) => sums(n, (i) => 1 / i),
  accumulate_subsample: (n) => sums(n, (i) => (i > 1 ? (2 - 1 / (i - 1)) / i ** 2 : 1)).map((pool, k) => pool + 1 - 1 / (k + 1)),
  mixture: (n, share) => sums(n, (i) => (i > 1 ? (1 - share ** 2) * (1 - share) ** (2 * (i - 2)) : 1)),
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
});
const direction = (g, penalty, noise) => [g / (g + penalty), (noise ** 2 * g) / (g + penalty) ** 2];
const NAMES = ["replace", "replace_multiple", "accumulate", "accumulate_subsample", "mixture"], DRAWN = NAMES.slice(3);

// The loop. A worker gets these functions as text: they name only each other.
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
function dealt(deck, size, count, random) { // a subset: the first cards of a deck, shuffled as far as it is read
  for (let i = 0; i < count; i++) {
    const j = i + Math.floor(random.uniform() * (size - i)), card = deck[j];
    deck[j] = deck[i];
    deck[i] = card;
  }
  return deck.slice(0, count);
}
// The squared error of every fit of one loop; null where a subset has too few different rows.
function loop(regime, x, truth, rows, n, penalty, share, factor, random) {
  const d = truth.length, all = times(rows, (i) => i), risk = new Float64Array(n), real = Math.round(share * rows);
  const subset = regime === "accumulate_subsample", mixed = regime === "mixture", copied = regime === "replace_multiple";
  const kept = new Float64Array(subset ? n * rows : rows), deck = Uint32Array.from(kept, (_, i) => i);
  let w = truth, first;
  for (let k = 1; k <= n; k++) {
    for (let i = 0; i < rows; i++) {
      let mean = 0, label = 0, at = (k - 1) * rows + i;
      for (let j = 0; j < d; j++) mean += x[i * d + j] * w[j];
      const copies = copied ? k : 1;
      for (let c = 0; c < copies; c++) label += mean + random.normal();
      if (subset) kept[at] = label;
      else kept[i] = regime === "accumulate" ? kept[i] + label : label / copies;
    }
    first ??= kept.slice();
    if (subset || (mixed && k > 1)) {
      const cards = subset ? dealt(deck, k * rows, rows, random) : [...dealt(deck, rows, real, random), ...dealt(deck, rows, rows - real, random)];
      const picked = Array.from(cards, (card) => card % rows), own = factored(x, picked, d, penalty);
      if (own === null) return null;
      w = fitted(x, picked, (i) => (mixed && i < real ? first : kept)[cards[i]], own, d);
    } else w = fitted(x, all, (i) => (regime === "accumulate" ? kept[i] / k : kept[i]), factor, d);
    for (let j = 0; j < d; j++) risk[k - 1] += (w[j] - truth[j]) ** 2;
  }
  return risk;
}
function replicate({ d, rows, n, penalty, share, regimes }, random) { // one design, one truth, every regime on them
  const x = Float64Array.from(times(rows * d, random.normal)), truth = times(d, random.normal);
  const factor = factored(x, times(rows, (i) => i), d, penalty);
  return Object.fromEntries(regimes.map((regime) => [regime, loop(regime, x, truth, rows, n, penalty, share, factor, random)]));
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
const WORKER = [times, normals, factored, fitted, dealt, loop, replicate, work].map(String).join("\n") + "\nonmessage = work;";
function simulated(setting, seen) { // calls seen after every replicate and at the end; returns what stops it
  const address = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" })), worker = new Worker(address);
  worker.onmessage = ({ data }) => seen(data);
  worker.postMessage(setting);
  return () => { worker.terminate(); URL.revokeObjectURL(address); };
}

// Eigenvalues of XᵀX/T of a random design, from its bidiagonal form (Dumitriu & Edelman 2002), by implicit QL.
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

// Of a simulation: the moments of a regime, if it can be shown; the mean at fit k, and two standard errors.
const has = (runs, name) => (runs?.count > 2 && !runs.moments[name]?.broken ? runs.moments[name] : null);
const point = ({ count, moments }, name, k, unit) => [moments[name].mean[k - 1] / unit, (2 * Math.sqrt(moments[name].m2[k - 1] / (count - 1) / count)) / unit];

const regimes = {
  title: "Try it: one loop, five ways to treat the data",
  chapter: "linear_models",
  controls: {
    regime: { label: "Regime", options: { replace: "replace: the newest data alone", replace_multiple: "replace-multiple: as many new rows as if all were kept", accumulate: "accumulate: keep everything", accumulate_subsample: "accumulate-subsample: a random subset of everything", mixture: "mixture: a share p of the first rows, the rest the newest" }, start: "accumulate", mark: swatch },
    n_generations: { label: "Rounds n (model fits)", values: range(2, 200), start: 50 },
    d: { label: "Features d", values: range(2, 200), start: 10 },
    n_samples: { label: "Rows T of a round", values: [...range(6, 199), ...range(200, 495, 5), ...range(500, 2000, 25)], start: 100 },
    penalty: { label: "Ridge penalty λ", values: [0, ...grid(0.001, 1)], start: 0 },
    share: { label: "Share of real rows p (mixture)", values: times(21, (k) => k / 20), start: 0.1, show: (v) => `${fmt(100 * v)} %` },
  },
  command: ({ n_generations, d, n_samples, penalty }) => `d=${d} n_samples=${n_samples} n_generations=${Math.max(5, n_generations)}${penalty ? ` penalty=${penalty}` : ""}`,
  remark: ({ regime, n_generations, d, n_samples }) => (regime === "mixture" ? "It runs the other four." : n_samples < d + 4 ? `The chapter wants at least ${d + 4} rows.` : n_generations < 5 ? "The chapter runs at least 5 fits." : ""),
  theory({ n_generations: n, d, n_samples: rows, penalty, share }) {
    const unit = laws.first_risk(d, rows, 1), designs = penalty ? spectra(d, rows) : [];
    const ridge = (law) => law(n, designs.flat(), penalty, 1 / Math.sqrt(rows)).map((v) => v / designs.length / unit);
    if (penalty) return { unit, replace: ridge(laws.ridge_replace), accumulate: ridge(laws.ridge_accumulate) };
    return { unit, ...Object.fromEntries(NAMES.map((name) => [name, laws[name](n, share)])) };
  },
  subset: ({ d, n_samples, penalty }) => penalty > 0 || n_samples >= 3 * d + 10,
  say(state, { replace, replace_multiple, accumulate, accumulate_subsample, mixture }) {
    const { n_generations: n, penalty, share } = state, last = (path) => fmt(path[n - 1]);
    const rules = penalty
      ? [`With the penalty ${fmt(penalty)} the error after ${n} rounds is ${last(accumulate)} first errors if you keep the data and ${last(replace)} if you replace them. Without it these would be ${last(laws.accumulate(n))} and ${n}.`, "A first error is that of a first fit without penalty. The lines are the law given the design, averaged over random designs; the other three regimes have points only, for we know no closed form."]
      : [`After ${n} rounds the error is ${last(accumulate)} times the first if you keep the data, ${n} times if you replace them.`, `With as many new rows as if you had kept them it is ${last(replace_multiple)} times, with a random subset of everything ${last(accumulate_subsample)} times. However long you go on, keeping everything never costs more than 1.645 times.`, `A mixture with ${fmt(100 * share)} % of the first rows costs ${last(mixture)} times${share ? `, and at most ${fmt(1 + (1 - share ** 2) / (share * (2 - share)))}` : ": it is replace"}.`];
    if (!regimes.subset(state)) rules.push("Subset and mixture are not simulated: with so few rows they have hardly more different ones than features.");
    else if (!penalty && state.n_samples < 20 * state.d) rules.push("The laws of subset and mixture are for many rows per feature; with few their points lie above the lines.");
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
  simulate(state, seen) {
    const { n_generations: n, d, n_samples: rows, penalty, share } = state, names = regimes.subset(state) ? NAMES : NAMES.filter((name) => !DRAWN.includes(name));
    return simulated({ d, rows, n, penalty, share, regimes: names }, seen);
  },
  measured({ regime, n_generations: n }, theory, runs) {
    if (!has(runs, regime)) return "";
    const [mean, two] = point(runs, regime, n, theory.unit);
    return ` At the last fit ${regime.replace("_", "-")} stands at ${fmt(mean)} ± ${fmt(two, 2)}${theory[regime] ? `; theory says ${fmt(theory[regime][n - 1])}` : ""}.`;
  },
};
lab.widgets.regimes = regimes;
Object.assign(lab, { replicate, spectrum });
})();
