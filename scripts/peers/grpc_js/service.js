// The interoperability service's schema, loaded from its .proto files, and what client and server both use.
"use strict";

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const INITIAL_KEY = "x-grpc-test-echo-initial";
const TRAILING_KEY = "x-grpc-test-echo-trailing-bin";

// The services of `file`, a path below `root`.
function load(root, file) {
  const definition = loader.loadSync(file, { includeDirs: [root], defaults: true });
  return grpc.loadPackageDefinition(definition).grpc.testing;
}

function payload(size) {
  return { type: "COMPRESSABLE", body: Buffer.alloc(size) };
}

module.exports = { INITIAL_KEY, TRAILING_KEY, grpc, load, payload };
