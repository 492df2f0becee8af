"""Steps: optimizers on one flat vector, minibatches, natural steps."""
