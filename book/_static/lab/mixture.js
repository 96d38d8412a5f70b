// Help, hurt, floor: rows from a source with a systematic error.
(() => {
"use strict";
const { laws, path, refuse, fmt, grid, frame, HEIGHT, square } = lab;

Object.assign(laws, {
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
});
const AREAS = { keep: "#0072B2", drop: "#E69F00", floor: "#D55E00" };

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
    const top = hurt.map((v, k) => Math.max(v, floor[k])), flat = (v) => all.map(() => v);
    const area = (from, until, colour) => chart.area(from, until, colour, all), curve = (values, dash) => chart.line(values, `stroke="currentColor" stroke-dasharray="${dash}"`, all);
    const x = chart.sx(state.share), y = chart.sy(state.rows), colour = AREAS[mixture.answer(state, found)];
    const here = `<path d="M${x} 0V${HEIGHT}M0 ${y}H${width}" stroke="currentColor" stroke-opacity=".45" stroke-dasharray="2 3"/><circle cx="${x}" cy="${y}" r="7" fill="${colour}" stroke="currentColor" stroke-width="2"/>`;
    return chart.wrap(area(flat(1.1), hurt, AREAS.keep) + area(hurt, top, AREAS.drop) + area(top, flat(1e7), AREAS.floor) + curve(hurt, "") + curve(floor, "6 4") + here);
  },
  key: `<p class="key"><span>${square(AREAS.keep)} keep them</span><span>${square(AREAS.drop)} they hurt: drop them</span><span>${square(AREAS.floor)} more will not help</span><span>solid: hurt from here on; dashed: the floor</span></p>`,
};
lab.widgets.mixture = mixture;
lab.AREAS = AREAS;
})();
