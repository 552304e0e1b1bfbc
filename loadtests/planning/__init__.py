"""What is to be sent: validated values, read from options, without Locust, network or clock."""
