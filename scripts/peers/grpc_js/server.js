// The official interoperability server with grpc-js: `node server.js ROOT FILE` serves grpc.testing.TestService on a
// free port of 127.0.0.1, says which, and runs until it is killed. ROOT holds FILE, the service's .proto file.
// Source: grpc/grpc, doc/interop-test-descriptions.md.
"use strict";

const { INITIAL_KEY, TRAILING_KEY, grpc, load, payload } = require("./service.js");

const [root, file] = process.argv.slice(2);

// Send the initial metadata that the call asks for; return the trailing metadata.
function echo(call) {
  const initial = call.metadata.get(INITIAL_KEY);
  if (initial.length) {
    const metadata = new grpc.Metadata();
    metadata.set(INITIAL_KEY, initial[0]);
    call.sendMetadata(metadata);
  }
  const trailing = new grpc.Metadata();
  for (const value of call.metadata.get(TRAILING_KEY)) trailing.add(TRAILING_KEY, value);
  return trailing;
}

// The error that a request asks the call to end with, if it does.
function wished({ responseStatus }, metadata) {
  const { code, message } = responseStatus || {};
  return code ? { code, details: message, metadata } : null;
}

function respond(call, { responseParameters }) {
  for (const { size } of responseParameters) call.write({ payload: payload(size) });
}

function UnaryCall(call, done) {
  const trailing = echo(call);
  done(wished(call.request, trailing), { payload: payload(call.request.responseSize) }, trailing);
}

function StreamingOutputCall(call) {
  const trailing = echo(call);
  respond(call, call.request);
  call.end(trailing);
}

function StreamingInputCall(call, done) {
  const trailing = echo(call);
  let sum = 0;
  call.on("data", (request) => (sum += request.payload.body.length));
  call.on("end", () => done(null, { aggregatedPayloadSize: sum }, trailing));
}

function FullDuplexCall(call) {
  const trailing = echo(call);
  call.on("data", (request) => {
    const error = wished(request, trailing);
    if (error) call.emit("error", error);
    else respond(call, request);
  });
  call.on("end", () => call.end(trailing));
}

const server = new grpc.Server();
const EmptyCall = (call, done) => done(null, {}, echo(call));
const methods = { EmptyCall, UnaryCall, StreamingOutputCall, StreamingInputCall, FullDuplexCall };
server.addService(load(root, file).TestService.service, methods);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`listening on 127.0.0.1:${port}`);
});
