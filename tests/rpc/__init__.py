"""gRPC on our own transport: between itself and every other stack, and against what it must withstand."""
