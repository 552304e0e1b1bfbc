"""What came of the calls: samples, and everything that is derived from them."""
