"""What training costs: how fast it is, beside the loop that people run today."""
