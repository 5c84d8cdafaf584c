"""Training: procedural scenes become the small VAE and the small LongVie 2."""
