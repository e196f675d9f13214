"""What users of grpc.aio have complained about, one test each; the number is the issue's in grpc/grpc."""
