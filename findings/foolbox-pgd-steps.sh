#!/usr/bin/env bash
# foolbox 3.3.4: the step of projected gradient descent, `LinfPGD`, is a fixed thirtieth of the radius unless it is given, and does
# not grow when fewer `steps` than the default forty are asked for. From its random start an attack of fifteen steps then goes half
# a radius at most, and cannot reach the side of the ball that it is after: the *one*-step attack is the stronger. No warning.
# Accuracies "under PGD" measured so are far too high. Whoever sets `steps` has to set `rel_stepsize` with it, e.g. 2.5/steps.
#
# Seen (a linear classifier whose 100 images all turn within 0.8 of the radius, so that the true accuracy is 0):
#   accuracy, one step of the radius: 0.00
#   accuracy, PGD with 40 steps: 0.00
#   accuracy, PGD with 15 steps: 1.00
#   accuracy, PGD with 15 steps of 2.5/15: 0.00
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 foolbox==3.3.4
cd "$work"
GIT_PYTHON_REFRESH=quiet "$work/venv/bin/python" - <<'P' | tee "$work/seen"
import torch
from foolbox import PyTorchModel, attacks

torch.manual_seed(0)
radius, pixels = 0.1, 400
weights = torch.randn(pixels)
layer = torch.nn.Linear(pixels, 2)
images = torch.rand(100, pixels)
with torch.no_grad():
    layer.weight.copy_(torch.stack([weights, -weights]))
    layer.bias.zero_()
    # moved along the weights until the nearest point of the other class lies at 0.8 radii in the maximum norm
    images += ((0.8 * radius * weights.abs().sum() - images @ weights) / (weights @ weights))[:, None] * weights
labels = torch.zeros(100, dtype=torch.long)
model = PyTorchModel(layer.eval(), bounds=(-5, 5))
assert (layer(images).argmax(1) == 0).all()
for name, attack in {
    "one step of the radius": attacks.LinfFastGradientAttack(),
    "PGD with 40 steps": attacks.LinfPGD(steps=40),
    "PGD with 15 steps": attacks.LinfPGD(steps=15),
    "PGD with 15 steps of 2.5/15": attacks.LinfPGD(steps=15, rel_stepsize=2.5 / 15),
}.items():
    turned = attack(model, images, labels, epsilons=radius)[2]
    print(f"accuracy, {name}: {1 - turned.double().mean():.2f}")
P
diff "$work/seen" - <<"S"
accuracy, one step of the radius: 0.00
accuracy, PGD with 40 steps: 0.00
accuracy, PGD with 15 steps: 1.00
accuracy, PGD with 15 steps of 2.5/15: 0.00
S
