// A learner that knows what it has seen, of a law with a power-law tail: all of it, cut, and cut with some real rows.
(() => {
"use strict";
const { laws, times, legendre, fmt, grid, range, frame, COLOURS } = lab;

const LAST = 1e18; // ranks beyond it are one node
const BERNOULLI = [1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160]; // B₂ₖ/(2k)!
function zeta(s, q = 1) { // Hurwitz's, by Euler and Maclaurin
  const a = q + 20;
  let sum = times(20, (k) => (q + k) ** -s).reduce((x, y) => x + y, 0) + a ** (1 - s) / (s - 1) + a ** -s / 2, term = s * a ** (-s - 1);
  BERNOULLI.forEach((b, k) => { sum += b * term; term *= ((s + 2 * k + 1) * (s + 2 * k + 2)) / a ** 2; });
  return sum;
}
const LEGENDRE = legendre(16);
const known = new Map(); // kept while the share moves
function zipf(beta, cut, exact) {
  const key = [beta, cut, exact].join();
  if (!known.has(key)) {
    known.clear();
    known.set(key, nodes(beta, cut, exact));
  }
  return known.get(key);
}
function nodes(beta, cut, exact) { // p, the mass and whether the rank is at most the cut; a stretch of ranks has sixteen an octave
  const all = zeta(beta), edges = [LAST, ...(cut > exact ? [cut] : [])], p = [], weight = [], low = [];
  for (let rank = 1; rank <= exact; rank++) { p.push(rank ** -beta / all); weight.push(1); low.push(rank <= cut); }
  for (let k = 0; k < Math.ceil(Math.log2(LAST / exact)); k++) edges.push(exact * 2 ** k);
  edges.sort((a, b) => a - b).forEach((edge, k) => {
    if (k === 0) return;
    const from = Math.log(edges[k - 1] + 0.5), to = Math.log(edge + 0.5), half = (to - from) / 2;
    for (const [x, w] of LEGENDRE) {
      const rank = Math.exp((to + from) / 2 + half * x);
      p.push(rank ** -beta / all); weight.push(half * w * rank); low.push(rank < cut + 0.5);
    }
  });
  p.push(LAST ** -beta / all); weight.push(zeta(beta, LAST) * LAST ** beta); low.push(false);
  return { p: Float64Array.from(p), mass: Float64Array.from(p, (v, k) => v * weight[k]), low };
}
Object.assign(laws, {
  // The test error after each number of rows, a share `real` of them from the whole law, the others from the law cut after a rank.
  unseen(counts, beta, cut, real, exact = 200) {
    const { p, mass, low } = zipf(beta, cut, exact);
    let head = 0;
    for (let k = 0; k < p.length; k++) if (low[k]) head += mass[k];
    const miss = p.map((v, k) => Math.log1p(-(real * v + (low[k] ? ((1 - real) * v) / head : 0))));
    return counts.map((rows) => {
      let error = 0;
      for (let k = 0; k < p.length; k++) error += mass[k] * Math.exp(rows * miss[k]);
      return error;
    });
  },
  beyond: (beta, cut) => zeta(beta, cut + 1) / zeta(beta), // the mass that a cut takes away
});
const COUNTS = times(41, (k) => 10 ** (1 + k / 5));

const tails = {
  title: "Try it: what a cut tail costs, and what real rows buy back",
  chapter: "tails",
  controls: {
    beta: { label: "Tail exponent β of the truth", values: range(24, 60).map((k) => k / 20), start: 1.5 },
    cut: { label: "The synthetic law ends at rank k", values: [...new Set(grid(100, 1e5).map(Math.round))], start: 1000 },
    real: { label: "Share of real rows", values: [0, ...grid(1e-4, 0.5)], start: 0.01, show: (v) => `${fmt(100 * v)} %` },
  },
  command: ({ beta, cut }) => `beta=${beta} cut=${cut}`,
  remark: () => "It takes shares of its own.",
  theory({ beta, cut, real }) {
    const [clean, mixed, floored] = [1, real, 0].map((share) => laws.unseen(COUNTS, beta, cut, share));
    return { clean, mixed, floored, floor: laws.beyond(beta, cut) };
  },
  say({ beta, cut, real }, { clean, mixed, floored, floor }) {
    const at = COUNTS.findIndex((rows) => rows > 9e5), words = real ? `With ${fmt(100 * real)} % of real rows it is ${fmt(mixed[at])} there, and falls on.` : "With some real rows it would fall on.";
    return [`On real rows ten times as many divide the error by ${fmt(10 ** (1 - 1 / beta))}; at a million it is ${fmt(clean[at])}.`, `If no row goes beyond rank ${fmt(cut, 6)} the error never falls below ${fmt(floor)}, the mass of what was cut; at a million rows it is ${fmt(floored[at])}.`, words];
  },
  draw(width, state, { clean, mixed, floored }) {
    const chart = frame(width, [10, 1e9], [clean.at(-1) / 1.5, 1], "rows T", "test error");
    const line = (values, colour, rest) => chart.line(values, `stroke="${colour}" ${rest}`, COUNTS);
    return chart.wrap(line(clean, "currentColor", 'stroke-width="2"') + line(floored, COLOURS.replace, 'stroke-width="2" stroke-dasharray="6 4"') + line(mixed, COLOURS.mixture, 'stroke-width="3.5"'));
  },
  key: `<p class="key"><span>thin: real rows alone; dashed: cut rows alone</span><span><b style="text-decoration:underline 3px ${COLOURS.mixture}">thick</b>: cut rows with your share of real ones</span></p>`,
};
lab.widgets.tails = tails;
})();
