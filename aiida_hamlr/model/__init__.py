"""The dual-channel network: graphs, layers, long-range channel, training and inference."""
