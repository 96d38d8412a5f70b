// Twenty Gaussian chains, and what their mean hides.
(() => {
"use strict";
const { laws, times, path, normals, chi2, digamma, fmt, range, frame, COLOURS, swatch } = lab;

Object.assign(laws, {
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
});
const shrink = (rows, ddof) => (rows - 1) / (rows - ddof);

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
lab.widgets.chain = chain;
})();
