// A signal on its way through a wide random network, and how much networks differ, with Gaussian and orthogonal weights.
(() => {
"use strict";
const { laws, times, legendre, fmt, grid, range, frame, COLOURS, square } = lab;

const LEGENDRE = legendre(24); // ⟨f⟩_K on panels from 0 to 12, the other side by its mirror image: ReLU has a kink at zero
const NODES = times(8, (panel) => LEGENDRE.map(([x, w]) => {
  const z = 1.5 * panel + 0.75 * (1 + x);
  return [z, (0.75 * w * Math.exp(-(z ** 2) / 2)) / Math.sqrt(2 * Math.PI)];
})).flat();
const PLACES = Float64Array.from([...NODES.map(([z]) => -z), ...NODES.map(([z]) => z)]), WEIGHTS = Float64Array.from([...NODES, ...NODES].map(([, w]) => w));
function erf(x) { // a series of positive terms
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  let term = size, sum = size;
  for (let k = 1; term > 1e-17 * sum; k++) sum += term *= (2 * size * size) / (2 * k + 1);
  return (Math.sign(x) * 2 * Math.exp(-size * size) * sum) / Math.sqrt(Math.PI);
}
const ACTIVATIONS = {
  tanh: Math.tanh,
  relu: (z) => Math.max(z, 0),
  gelu: (z) => (z * (1 + erf(z / Math.SQRT2))) / 2,
  swish: (z) => z / (1 + Math.exp(-z)),
  sin: Math.sin,
  linear: (z) => z,
};
const CRITICAL = { tanh: [0, 1, 1], relu: [0, 2, 1], gelu: [0.17292239075606686, 1.983058257437547, 3.5615528128088454], swish: [0.5551431707215269, 1.9880046782694918, 14.320173618025915], sin: [0, 1, 1], linear: [0, 1, 1] };
Object.assign(laws, {
  // Of layers 1 … depth: the kernel K, and V/K² with V = n Cov(z_i², z_j²) to leading order in 1/n.
  kernels: (...network) => followed(...network).map((layer) => layer.kernel),
  vertex_gaussian: (...network) => followed(...network).map((layer) => layer.gaussian),
  vertex_haar: (...network) => followed(...network).map((layer) => layer.haar),
});
function followed(activation, k1, depth, c_w, c_b) {
  const f = ACTIVATIONS[activation];
  let k = k1, gaussian = 0, haar = -2 * k1 ** 2;
  return times(depth, () => {
    const now = { kernel: k, gaussian: gaussian / k ** 2, haar: haar / k ** 2 }, width = Math.sqrt(k);
    let second = 0, fourth = 0, slope = 0;
    for (let i = 0; i < PLACES.length; i++) {
      const y = f(width * PLACES[i]) ** 2, part = WEIGHTS[i] * y;
      second += part;
      fourth += part * y;
      slope += part * (PLACES[i] * PLACES[i] - 1);
    }
    const gain = ((c_w * slope) / (2 * k)) ** 2;
    gaussian = gain * gaussian + c_w ** 2 * (fourth - second ** 2);
    haar = gain * haar + c_w ** 2 * (fourth - 3 * second ** 2);
    k = c_b + c_w * second;
    return now;
  });
}
const spread = (v, n) => Math.sqrt(Math.max(v + 2, 0) / n); // of |z|²/n over K, from network to network
const GAUSSIAN = COLOURS.replace, HAAR = COLOURS.accumulate;

const signal = {
  title: "Try it: does a signal survive the depth, and do networks agree?",
  chapter: "orthogonal_init",
  controls: {
    activation: { label: "Activation", options: { tanh: "tanh", relu: "ReLU", gelu: "GELU", swish: "SWISH", sin: "sine", linear: "none (linear)" }, start: "tanh" },
    gain: { label: "Weight variance / critical", values: range(25, 100).map((k) => k / 50), start: 1 },
    depth: { label: "Layers L", values: range(2, 200), start: 30 },
    width: { label: "Neurons n of a layer", values: [...new Set(grid(10, 1000).map(Math.round))], start: 200 },
  },
  command: ({ activation, gain, depth, width }) => `width=${width} depth=${Math.max(20, depth)}${activation === "tanh" && gain !== 1 ? ` detuned=${gain}` : ""}`,
  remark: ({ depth }) => `It runs tanh and five other activations${depth < 20 ? ", with at least 20 layers" : ""}.`,
  theory({ activation, gain, depth, width }) {
    const [c_b, critical, k1] = CRITICAL[activation], c_w = gain * critical;
    const layers = followed(activation, k1, depth, c_w, c_b), [gaussian, haar] = ["gaussian", "haar"].map((law) => layers.map((layer) => spread(layer[law], width)));
    return { c_w, kernel: layers.map((layer) => layer.kernel), gaussian, haar };
  },
  say({ gain, depth }, { c_w, kernel, gaussian, haar }) {
    const last = kernel[depth - 1], ratio = last / kernel[0], per = (v) => (v > 10 ? `${fmt(100 * v, 2)} %, too much for a theory of small differences` : `${fmt(100 * v, 2)} %`);
    const fate = ratio > 10 ? "grows" : ratio < 0.1 ? "fades" : "lives";
    return [`With the weight variance ${fmt(c_w, 4)}${gain === 1 ? ", the critical one," : ""} the signal ${fate}: its mean square is ${fmt(last)} in layer ${depth}, ${fmt(kernel[0])} in the first.`, `There networks with Gaussian weights scatter around it by ${per(gaussian[depth - 1])} (one standard deviation), those with orthogonal weights by ${per(haar[depth - 1])}.`, ...(gaussian[depth - 1] > 0.5 ? ["The bands are to leading order in one over the width, which differences of more than a half outrun: take wider or shallower networks."] : [])];
  },
  draw(width, { depth }, { kernel, gaussian, haar }) {
    const most = (spreads, sign) => kernel.map((k, l) => k * Math.exp(sign * 2 * Math.min(spreads[l], 1.5)));
    const bands = [[gaussian, GAUSSIAN], [haar, HAAR]].map(([spreads, colour]) => [most(spreads, -1), most(spreads, 1), colour]), all = bands.flatMap(([low, high]) => [...low, ...high]);
    const chart = frame(width, [1, depth], [Math.max(Math.min(...all), 1e-200) / 1.3, Math.min(Math.max(...all), 1e200) * 1.3], "layer", "mean square of the preactivations");
    const layers = times(depth, (l) => l + 1);
    return chart.wrap(bands.map(([low, high, colour]) => chart.area(low, high, colour, layers)).join("") + chart.line(kernel, 'stroke="currentColor" stroke-width="2.5"'));
  },
  key: `<p class="key"><span>line: infinitely wide networks</span><span>${square(GAUSSIAN)} nineteen of twenty with Gaussian weights</span><span>${square(HAAR)} with orthogonal weights</span></p>`,
};
lab.widgets.signal = signal;
Object.assign(lab, { CRITICAL });
})();
