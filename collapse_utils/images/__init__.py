"""Pictures, convolutions, variational autoencoders, and how good and varied their samples are."""
