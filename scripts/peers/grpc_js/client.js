// The official client's cases with grpc-js: `node client.js PORT ROOT FILE` runs each against the server on that port
// of 127.0.0.1 and prints one JSON object, {case: [outcome of each call]}.
// ROOT holds FILE, the .proto file of grpc.testing.TestService.
// Source: grpc/grpc, doc/interop-test-descriptions.md.
"use strict";

const { INITIAL_KEY, TRAILING_KEY, grpc, load, payload } = require("./service.js");

const [port, root, file] = process.argv.slice(2);
const testing = load(root, file);
const LONG = 10_000; // milliseconds: the bound of every call that has no deadline of its own
const REQUESTS = [27_182, 8, 1_828, 45_904];
const RESPONSES = [31_415, 9, 2_653, 58_979];
const SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \u{1f608}\t\n";

function client(options = {}, Service = testing.TestService) {
  return new Service(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), options);
}

function within(milliseconds) {
  return { deadline: Date.now() + milliseconds };
}

// The metadata of the two keys that a server echoes, binary values in hexadecimal.
function echoed(metadata) {
  const all = [INITIAL_KEY, TRAILING_KEY].flatMap((key) => metadata.get(key).map((value) => [key, value]));
  return all.map(([key, value]) => [key, Buffer.isBuffer(value) ? value.toString("hex") : value]);
}

// Wait for the end of a call; `results` is filled by whoever reads the call.
function ended(call, results) {
  let initial = [];
  call.on("metadata", (metadata) => (initial = echoed(metadata)));
  call.on("error", () => {}); // the status says it too
  return new Promise((resolve) => {
    call.on("status", ({ code, details, metadata }) => {
      resolve({ code, details, results, initial, trailing: echoed(metadata) });
    });
  });
}

// Open a call that ends with one response; `figure` says which number of it belongs to the outcome.
function single(open, figure) {
  const results = [];
  const call = open((error, response) => {
    if (!error) results.push(figure(response));
  });
  return [call, ended(call, results)];
}

function unary(method, request, metadata = new grpc.Metadata()) {
  const size = (response) => (response.payload ? response.payload.body.length : 0);
  return single((done) => method(request, metadata, within(LONG), done), size)[1];
}

// Read a stream to its end; `onResponse` gets the number of responses so far.
function stream(call, onResponse = () => {}) {
  const results = [];
  call.on("data", (response) => {
    results.push(response.payload.body.length);
    onResponse(results.length);
  });
  return ended(call, results);
}

function large(fields = {}) {
  return { responseSize: 314_159, payload: payload(271_828), ...fields };
}

function asking(responseSize, requestSize) {
  return { responseParameters: [{ size: responseSize }], payload: payload(requestSize) };
}

async function clientStreaming(stub) {
  const open = (done) => stub.StreamingInputCall(new grpc.Metadata(), within(LONG), done);
  const [call, outcome] = single(open, (response) => response.aggregatedPayloadSize);
  for (const size of REQUESTS) call.write({ payload: payload(size) });
  call.end();
  return [await outcome];
}

async function pingPong(stub) {
  const call = stub.FullDuplexCall(within(LONG));
  const send = (number) => {
    if (number < REQUESTS.length) call.write(asking(RESPONSES[number], REQUESTS[number]));
    else call.end();
  };
  send(0);
  return [await stream(call, send)];
}

async function customMetadata(stub) {
  const metadata = new grpc.Metadata();
  metadata.set(INITIAL_KEY, "test_initial_metadata_value");
  metadata.set(TRAILING_KEY, Buffer.from("ababab", "hex"));
  const first = await unary(stub.UnaryCall.bind(stub), large(), metadata);
  const call = stub.FullDuplexCall(metadata, within(LONG));
  call.end(asking(1, 1));
  return [first, await stream(call)];
}

async function statusCodeAndMessage(stub) {
  const responseStatus = { code: grpc.status.UNKNOWN, message: "test status message" };
  const first = await unary(stub.UnaryCall.bind(stub), { responseStatus });
  const call = stub.FullDuplexCall(within(LONG));
  call.end({ responseStatus });
  return [first, await stream(call)];
}

async function cancelAfterBegin(stub) {
  const [call, outcome] = single((done) => stub.StreamingInputCall(new grpc.Metadata(), within(LONG), done), Number);
  call.cancel();
  return [await outcome];
}

async function cancelAfterFirstResponse(stub) {
  const call = stub.FullDuplexCall(within(LONG));
  call.write(asking(RESPONSES[0], REQUESTS[0]));
  return [await stream(call, () => call.cancel())];
}

async function timeoutOnSleepingServer(stub) {
  const call = stub.FullDuplexCall(within(50));
  call.write({ payload: payload(REQUESTS[0]) });
  return [await stream(call)];
}

async function serverStreaming(stub) {
  const request = { responseParameters: RESPONSES.map((size) => ({ size })) };
  return [await stream(stub.StreamingOutputCall(request, within(LONG)))];
}

async function emptyStream(stub) {
  const call = stub.FullDuplexCall(within(LONG));
  call.end();
  return [await stream(call)];
}

function unaryCase(method, request) {
  return async (stub) => [await unary(stub[method].bind(stub), request)];
}

const specialStatus = { code: grpc.status.UNKNOWN, message: SPECIAL };
const plain = client();
const compressing = client({ "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip });
const otherService = client({}, testing.UnimplementedService);

const CASES = {
  empty_unary: [plain, unaryCase("EmptyCall", {})],
  large_unary: [plain, unaryCase("UnaryCall", large())],
  client_streaming: [plain, clientStreaming],
  server_streaming: [plain, serverStreaming],
  ping_pong: [plain, pingPong],
  empty_stream: [plain, emptyStream],
  custom_metadata: [plain, customMetadata],
  status_code_and_message: [plain, statusCodeAndMessage],
  special_status_message: [plain, unaryCase("UnaryCall", { responseStatus: specialStatus })],
  cancel_after_begin: [plain, cancelAfterBegin],
  cancel_after_first_response: [plain, cancelAfterFirstResponse],
  timeout_on_sleeping_server: [plain, timeoutOnSleepingServer],
  unimplemented_method: [plain, unaryCase("UnimplementedCall", {})],
  unimplemented_service: [otherService, unaryCase("UnimplementedCall", {})],
  client_compressed_unary: [compressing, unaryCase("UnaryCall", large())],
  client_compressed_streaming: [compressing, clientStreaming],
  server_compressed_unary: [plain, unaryCase("UnaryCall", large({ responseCompressed: { value: true } }))],
};

async function main() {
  const outcomes = {};
  for (const [name, [stub, run]] of Object.entries(CASES)) outcomes[name] = await run(stub);
  for (const stub of [plain, compressing, otherService]) stub.close();
  // Timers of deadlines that were not reached would keep the process for as long.
  process.stdout.write(JSON.stringify(outcomes), () => process.exit(0));
}

main();
