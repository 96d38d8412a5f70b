// A scaling law with a teacher: ridge on rows with a power-law spectrum, a share of whose labels an interpolator has written.
(() => {
"use strict";
const { laws, times, refuse, fmt, grid, range, frame, COLOURS } = lab;
const LATENTS = 2000, TEACHER = 50, [LOW, HIGH] = [50, 800];

const spectrum = (alpha, latents) => Float64Array.from({ length: latents }, (_, k) => (k + 1) ** -(1 + alpha));
const sum = (lam, term) => { let total = 0; for (let i = 0; i < lam.length; i++) total += term(lam[i], i); return total; };
function root(lam, count, penalty) { // κ with Σ λ/(λ+κ) + count·penalty/κ = count, by Newton's method in logarithms, bisected where that leaves the bracket
  let low = Math.log(lam.at(-1) * Math.max(lam.length / count - 1, 1e-12)) - 1, high = Math.log(penalty + sum(lam, (l) => l) / count) + 1;
  let at = Math.min(Math.max(Math.log(penalty + lam[Math.min(Math.round(count), lam.length) - 1]), low), high);
  for (let turn = 0; turn < 200; turn++) {
    const kappa = Math.exp(at), ridge = (count * penalty) / kappa;
    let df1 = 0, df2 = 0;
    for (const l of lam) { const f = l / (l + kappa); df1 += f; df2 += f * f; }
    const excess = Math.log((df1 + ridge) / count), slope = -(df1 - df2 + ridge) / (df1 + ridge);
    if (excess > 0) low = at; else high = at;
    let next = at - excess / slope;
    if (!(next > low && next < high)) next = (low + high) / 2;
    if (Math.abs(next - at) < 1e-14) break;
    at = next;
  }
  return Math.exp(at);
}
function teachers(lam, rows, fits) { // each the student of the last: second moments with the truth and with itself in every direction, each 1/M for the truth
  const unit = 1 / lam.length, delta = root(lam, rows, 0), kept = lam.map((l) => l / (l + delta)), free = rows - sum(kept, (f) => f ** 2);
  let cross = lam.map(() => unit), own = cross;
  return times(fits, () => {
    const spread = sum(lam, (l, i) => (own[i] * kept[i] ** 2) / l) / free;
    own = lam.map((l, i) => kept[i] ** 2 * own[i] + l * (1 - kept[i]) ** 2 * spread);
    cross = cross.map((c, i) => kept[i] * c);
    return { unit, cross, own };
  });
}
const lost = (lam, { unit, cross, own }) => sum(lam, (l, i) => (l * (own[i] - 2 * cross[i] + unit)) / 2);
function student(lam, { unit, cross, own }, rows, penalty, shares) { // the losses at several shares; rows may be infinite
  const kappa = rows === Infinity ? penalty : root(lam, rows, penalty), df2 = sum(lam, (l) => (l / (l + kappa)) ** 2), u = df2 / (rows - df2);
  return shares.map((q) => sum(lam, (l, i) => {
    const f = l / (l + kappa), p = 1 - q, pair = (a, b) => a * a * unit + 2 * a * b * cross[i] + b * b * own[i];
    return (l / 2) * (pair(p * f - 1, q * f) + u * ((1 - f) ** 2 * pair(p, q) + p * q * pair(-1, 1)));
  }));
}
Object.assign(laws, {
  taught(alpha, latents, rows, penalty, share, taught_by) {
    if (!(rows >= taught_by)) refuse(`There must be at least as many rows as the ${taught_by} of the teacher; got ${fmt(rows)}.`);
    const lam = spectrum(alpha, latents);
    return student(lam, teachers(lam, taught_by, 1)[0], rows, penalty, [share])[0];
  },
  chain(alpha, latents, rows, fits) {
    const lam = spectrum(alpha, latents);
    return teachers(lam, rows, fits).map((one) => lost(lam, one));
  },
});
const SIZES = times(13, (k) => LOW * (HIGH / LOW) ** (k / 12));
const LINES = { mixed: ["with the teacher's labels", COLOURS.mixture, 3.5, ""], real: ["real labels alone", COLOURS.accumulate, 2, ""], floor: ["where more rows end, at the best penalty", "currentColor", 1.3, "6 4"] };
const stroke = ([, colour, width, dash]) => `stroke="${colour}" stroke-width="${width}"${dash && ` stroke-dasharray="${dash}"`}`;

lab.widgets.taught = {
  title: "Try it: a scaling law that bends",
  chapter: "scaling_loop",
  controls: {
    alpha: { label: "Exponent α of the scaling law", values: range(3, 25).map((v) => v / 10), start: 1 },
    share: { label: "Share of labels from the teacher", values: grid(0.01, 1), start: 0.3, show: (v) => `${fmt(100 * v)} %` },
    penalty: { label: "Ridge penalty λ, the same for every size", values: grid(1e-6, 0.1), start: 1e-5 },
    rows: { label: "Rows T", values: grid(LOW, HIGH), start: 400 },
  },
  command: () => `taught_latents=${LATENTS}`,
  remark: () => "It runs α = 1, four shares, and at every size the best penalty.",
  theory({ alpha, share, penalty, rows }) {
    const lam = spectrum(alpha, LATENTS), [own] = teachers(lam, TEACHER, 1), unit = lost(lam, own), at = (t) => student(lam, own, t, penalty, [share, 0]).map((v) => v / unit);
    const paths = SIZES.map(at), here = at(rows), next = at(1.02 * rows), slope = here.map((v, k) => Math.log(v / next[k]) / Math.log(1.02));
    return { mixed: paths.map(([v]) => v), real: paths.map(([, v]) => v), floor: SIZES.map(() => share ** 2), here, slope, end: at(Infinity) };
  },
  say({ share, rows }, { here, slope, end }) {
    const falls = (k) => (slope[k] > 0.005 ? `falls like T to the power −${slope[k].toFixed(2)}` : slope[k] < -0.005 ? "rises" : "stands still");
    return [`At ${fmt(rows)} rows the loss is ${fmt(here[0])} of the teacher's and ${falls(0)}; with real labels alone it is ${fmt(here[1])} and ${falls(1)}.`, `More rows end at ${fmt(end[0])} with this penalty, and at ${fmt(share ** 2)}, the square of the share, with the best one of every size. The teacher has seen ${TEACHER} real rows.`];
  },
  draw(width, { rows }, found) {
    const all = [...found.mixed, ...found.real, found.floor[0]], chart = frame(width, [LOW, HIGH], [0.8 * Math.min(...all), 1.25 * Math.max(...all)], "rows T", "loss / loss of the teacher");
    const points = found.here.map((v, k) => `<circle cx="${chart.sx(rows)}" cy="${chart.sy(v)}" r="6" fill="${k ? COLOURS.accumulate : COLOURS.mixture}" stroke="currentColor"/>`);
    return chart.wrap(Object.entries(LINES).map(([name, look]) => chart.line(found[name], stroke(look), SIZES)).join("") + points.join(""));
  },
  key: `<p class="key">${Object.values(LINES).map((one) => `<span><svg class="swatch" viewBox="-8 -8 16 16" aria-hidden="true"><path d="M-8 0H8" ${stroke(one)}/></svg> ${one[0]}</span>`).join("")}</p>`,
};
})();
