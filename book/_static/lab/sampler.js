// A perfect diffusion model whose sampler takes finitely many steps, in the loop.
(() => {
"use strict";
const { laws, times, path, digamma, fmt, range, frame, COLOURS, swatch } = lab;

Object.assign(laws, {
  deterministic_factor: (steps) => gaps(angles(steps)).reduce((kept, gap) => kept * Math.cos(gap) ** 2, 1),
  ancestral_factor(steps) {
    const square = angles(steps).map((angle) => Math.cos(angle) ** 2);
    return 1 - gaps(square).reduce((sum, gap, k) => sum + gap ** 2 / (1 - square[k + 1]), 0);
  },
  sampler_path: (regime, factor, rows, n) => PATHS[regime](factor, rows, n),
  sampler_log_path: (factor, rows, n) => path(n, (t) => t * (digamma((rows - 1) / 2) + Math.log(2 / rows)) + (t - 1) * Math.log(factor)),
});
const angles = (steps) => [0, ...times(steps + 1, (k) => 1e-3 + (k * (Math.PI - 4e-3)) / (2 * steps))]; // the last step goes to 0
const gaps = (values) => values.slice(1).map((v, k) => v - values[k]);
const PATHS = { // the mean variance of the training data, of the truth N(0, 1)
  replace: (factor, rows, n) => path(n, (t) => (1 - 1 / rows) * (factor * (1 - 1 / rows)) ** (t - 1)),
  accumulate(factor, rows, n) {
    let variance = 1 - 1 / rows;
    return path(n, (t) => (variance *= t > 1 ? (t - 1 + factor * (1 - 1 / (rows * t))) / t : 1));
  },
  accumulate_subsample(factor, rows, n) { // square and mean: of the pool's mean square and squared mean, expected
    let square = 1, mean = 1 / rows;
    return path(n, (t) => {
      const spread = ((rows * t) / (rows * t - 1)) * (square - mean), kept = (spread * (rows - 1)) / rows;
      const chosen = mean + spread * (1 / rows - 1 / (rows * t)), made = factor * kept;
      square = (t * square + chosen + made) / (t + 1);
      mean = (t ** 2 * mean + 2 * t * mean + chosen + made / rows) / (t + 1) ** 2;
      return kept;
    });
  },
  mixture(factor, rows, n) { // half of the rows are real
    let old = 1 / rows, variance = 1 - 1 / rows;
    const half = rows / 2;
    return path(n, (t) => {
      if (t > 1) {
        const square = 0.5 + 0.5 * (old + factor * variance);
        old = 0.25 / half + 0.5 / rows + 0.25 * (old + (factor * variance) / half);
        variance = square - old;
      }
      return variance;
    });
  },
};
const NAMES = { replace: "replace", accumulate: "accumulate", accumulate_subsample: "accumulate-subsample", mixture: "half of the rows real" };

const sampler = {
  title: "Try it: a perfect model, a sampler with few steps",
  chapter: "gaussian_diffusion",
  controls: {
    kind: { label: "Sampler", options: { ancestral: "ancestral: fresh noise at every step", deterministic: "deterministic: noise at the start alone" }, start: "ancestral" },
    steps: { label: "Steps K", values: range(2, 200), start: 10 },
    n_rows: { label: "Rows of a round", values: range(10, 1000, 2), start: 50 },
    n_fits: { label: "Rounds n (model fits)", values: range(4, 50), start: 10 },
  },
  command: ({ steps, n_rows, n_fits }) => `steps=${steps} n_rows=${n_rows} n_fits=${n_fits}`,
  remark: () => "It runs both samplers.",
  theory({ kind, steps, n_rows, n_fits }) {
    const factor = laws[`${kind}_factor`](steps), paths = Object.fromEntries(Object.keys(NAMES).map((name) => [name, laws.sampler_path(name, factor, n_rows, n_fits)]));
    return { factor, paths, typical: laws.sampler_log_path(factor, n_rows, n_fits).map(Math.exp) };
  },
  say({ kind, steps, n_fits: n }, { factor, paths, typical }) {
    const last = (values) => fmt(values[n - 1]);
    return [`One pass through ${steps} ${kind} steps keeps ${fmt(100 * factor, 4)} % of the variance, however well the model was trained.`, `After ${n} rounds of replacing the data ${last(paths.replace)} of it is left on average, ${last(typical)} in a typical chain.`, `If you keep everything ${last(paths.accumulate)} is left, with half of the rows real ${last(paths.mixture)}.`];
  },
  draw(width, { n_fits: n }, { paths, typical }) {
    const chart = frame(width, [1, n], [Math.min(...typical, 0.5) / 1.2, 1.2], "fit n", "variance / the truth's");
    const wide = { accumulate_subsample: 7 }; // nearly the same as accumulate
    const lines = ["accumulate_subsample", "mixture", "replace", "accumulate"].map((name) => chart.line(paths[name], `stroke="${COLOURS[name]}" stroke-width="${wide[name] ?? 2.5}" opacity="${wide[name] ? 0.5 : 1}"`));
    return chart.wrap(lines.join("") + chart.line(typical, `stroke="${COLOURS.replace}" stroke-width="1.5" stroke-dasharray="6 4"`));
  },
  key: `<p class="key">${Object.entries(NAMES).map(([name, words]) => `<span>${swatch(name)} ${words}</span>`).join("")}<span>dashed: a typical chain under replace</span></p>`,
};
lab.widgets.sampler = sampler;
})();
