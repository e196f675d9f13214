"""Deadlines, retry budgets and hedging: small, allocation-free, without I/O."""
