// The weight of new real rows beside rows of the last model: the squared error of a mean, over that of one round of real rows.
(() => {
"use strict";
const { laws, path, fmt, grid, range, frame, COLOURS } = lab;

Object.assign(laws, {
  weighted_path(weight, n, ratio) {
    let error = 1;
    return path(n, (t) => (t > 1 ? (error = weight ** 2 + (1 - weight) ** 2 * (error + 1 / ratio)) : error));
  },
  weighted_limit: (weight, ratio) => (weight ** 2 + (1 - weight) ** 2 / ratio) / (1 - (1 - weight) ** 2),
  fixed_limit: (weight, ratio) => 1 + (1 - weight) ** 2 / (ratio * (1 - (1 - weight) ** 2)),
  best_weight: (ratio) => 2 / (1 + Math.sqrt(1 + 4 * ratio)),
});
const LINES = { chosen: ["your weight", COLOURS.accumulate, 3.5, ""], best: ["the best weight", COLOURS.accumulate_subsample, 2, ""], equal: ["equal weights", COLOURS.replace_multiple, 2, ""], kept: ["all real rows kept, no synthetic ones", "currentColor", 1.3, "6 4"] };
const stroke = ([, colour, width, dash]) => `stroke="${colour}" stroke-width="${width}"${dash && ` stroke-dasharray="${dash}"`}`;

const weight = {
  title: "Try it: how much should the new real rows count?",
  chapter: "best_weight",
  controls: {
    weight: { label: "Weight w of the real rows", values: range(5, 100).map((v) => v / 100), start: 0.5 },
    ratio: { label: "Synthetic rows for each real one, k", values: grid(0.1, 100), start: 1 },
    n_fits: { label: "Rounds n (model fits)", values: range(2, 100), start: 20 },
    d: { label: "Features d (the law is the same for all)", values: range(2, 50), start: 4 },
  },
  command: ({ n_fits, d }) => `n_fits=${Math.max(12, n_fits)} d=${d}`,
  remark: ({ n_fits }) => `It runs ten weights and four k${n_fits < 12 ? ", for at least 12 fits" : ""}.`,
  theory({ weight: w, ratio, n_fits: n }) {
    const best = laws.best_weight(ratio), of = (one) => laws.weighted_path(one, n, ratio);
    return { best, limit: laws.weighted_limit(w, ratio), same: laws.fixed_limit(w, ratio), paths: { kept: path(n, (t) => 1 / t), equal: of(1 / (1 + ratio)), best: of(best), chosen: of(w) } };
  },
  say({ weight: w, n_fits: n }, { best, limit, same, paths }) {
    const gain = limit < 1 ? `${fmt(100 * (1 - limit))} % below` : limit > 1 ? `${fmt(100 * (limit - 1))} % above` : "at";
    return [`With weight ${fmt(w)} the error is ${fmt(paths.chosen[n - 1])} after ${n} rounds and settles at ${fmt(limit)}, ${gain} that of one round of real rows alone.`, `The best weight is ${fmt(best)}, and it leaves ${fmt(best)}.`, `If the real rows were the same ones in every round, it would settle at ${fmt(same)}. If you kept all real rows, ${n} rounds would leave ${fmt(1 / n)}.`];
  },
  draw(width, { n_fits: n }, { paths }) {
    const all = Object.values(paths).flat(), chart = frame(width, [1, n], [0.9 * Math.min(...all), 1.15 * Math.max(...all)], "fit n", "error / error of one round of real rows");
    return chart.wrap(Object.entries(paths).map(([name, values]) => chart.line(values, stroke(LINES[name]))).join(""));
  },
  key: `<p class="key">${Object.values(LINES).map((one) => `<span><svg class="swatch" viewBox="-8 -8 16 16" aria-hidden="true"><path d="M-8 0H8" ${stroke(one)}/></svg> ${one[0]}</span>`).join("")}</p>`,
};
lab.widgets.weight = weight;
})();
