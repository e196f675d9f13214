"""gRPC between services on our own HTTP/2 transport, behind grpc.aio's abstract classes."""
