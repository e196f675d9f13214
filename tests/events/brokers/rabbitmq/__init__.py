"""The adapter for RabbitMQ: its protocol, its faults, and what is in the broker."""
