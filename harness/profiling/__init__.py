"""What training costs: how fast it is, beside a standard PyTorch loop."""
