"""Control signals: ticks of one clip become the dense and the sparse control video."""
