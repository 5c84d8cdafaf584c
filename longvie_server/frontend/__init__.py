"""Front ends: sockets in, sessions behind them."""
