"""Networks in training: perceptrons, and their tangent kernel."""
