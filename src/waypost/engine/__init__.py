"""What runs by itself: ingest and dispatch, the two hot paths, and the jobs behind them."""
