"""Kafka: what its adapter does beyond the contract."""
