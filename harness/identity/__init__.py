"""What a network is, measured on the network: its structure, and whether it computes the paper's function."""
