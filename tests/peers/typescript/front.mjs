// The client that the conformance suite starts: `connect`, with TLS in front of the suite's servers, which speak plain HTTP.
//
// Each `http://localhost:PORT` that the suite serves gets a front, `https://localhost:OTHER`, that wants a certificate where it
// can. What passes through is rewritten in both directions, so that each side sees URLs of its own kind; what is signed
// cannot be rewritten. The client itself is the TypeScript SDK behind connect: it lists the tools and calls them all.

import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: { binary: { type: 'string' }, home: { type: 'string' }, server: { type: 'string' } },
});
const served = new URL(positionals[0]);
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');

// The packages lie where the peers were set up, which is the working directory.
const require = createRequire(`${process.cwd()}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { Client, StreamableHTTPClientTransport } = await load('@modelcontextprotocol/client');

const tls = {
  key: readFileSync(`${given.home}/ledger/tls.key`),
  cert: readFileSync(`${given.home}/ledger/tls.crt`),
  ca: readFileSync(`${given.home}/ca/root.crt`),
  requestCert: true,
  rejectUnauthorized: true,
};

// From a port of the suite to the port of its front.
const fronts = new Map();

async function front(port) {
  if (!fronts.has(port)) {
    const server = createServer(tls, (incoming, outgoing) => {
      pass(port, incoming, outgoing).catch((error) => outgoing.destroy(error));
    });
    fronts.set(port, new Promise((listens) => server.listen(0, '127.0.0.1', () => listens(server.address().port))));
  }
  return fronts.get(port);
}

async function secured(text) {
  const ports = new Set([...text.matchAll(/http:\/\/localhost:(\d+)/g)].map((match) => match[1]));
  for (const port of ports) {
    text = text.replaceAll(`http://localhost:${port}`, `https://localhost:${await front(port)}`);
  }
  return text;
}

async function plain(text) {
  for (const [port, listens] of fronts) {
    const own = await listens;
    const pair = [`https://localhost:${own}`, `http://localhost:${port}`];
    for (const [from, to] of [pair, pair.map(encodeURIComponent)]) {
      text = text.replaceAll(from, to);
    }
  }
  return text;
}

async function pass(port, incoming, outgoing) {
  const body = Buffer.from(await plain((await read(incoming)).toString()));
  const headers = { ...incoming.headers, host: `localhost:${port}`, 'content-length': body.length };
  delete headers['transfer-encoding'];
  if (body.length === 0) {
    delete headers['content-length'];
  }
  const answer = await new Promise((answers, fails) => {
    const asked = request({ host: 'localhost', port, method: incoming.method, path: incoming.url, headers }, answers);
    asked.on('error', fails).end(body);
  });
  const said = {};
  for (const [name, value] of Object.entries(answer.headers)) {
    said[name] = Array.isArray(value) ? await Promise.all(value.map(secured)) : await secured(value);
  }
  const text = await secured((await read(answer)).toString());
  delete said['transfer-encoding'];
  outgoing.writeHead(answer.statusCode, { ...said, 'content-length': Buffer.byteLength(text) }).end(text);
}

async function read(stream) {
  const pieces = [];
  for await (const piece of stream) {
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

// A secret goes to nobody whom only the called server names: the operator looks up who that is, and here the front does.
async function issuer() {
  const answer = await fetch(new URL(`/.well-known/oauth-protected-resource${served.pathname}`, served));
  const { authorization_servers: [named] } = await answer.json();
  return secured(named);
}

async function authentication() {
  if (context.private_key_pem) {
    writeFileSync(`${given.home}/client.key`, context.private_key_pem, { mode: 0o600 });
    return ['--client-auth', 'private-key-jwt', '--client-key', `${given.home}/client.key`];
  }
  if (context.client_secret) {
    writeFileSync(`${given.home}/client.secret`, context.client_secret, { mode: 0o600 });
    const named = ['--issuer', await issuer()];
    return [...named, '--client-auth', 'secret', '--client-secret-file', `${given.home}/client.secret`];
  }
  return [];
}

const to = `https://localhost:${await front(served.port)}${served.pathname}`;
const flags = ['--to', to, '--server', given.server, '--identity', `${given.home}/billing-bot`, '--listen', '127.0.0.1:0'];
const known = ['--client-id', context.client_id ?? 'conformance', ...(await authentication())];
const connect = spawn(given.binary, ['connect', ...flags, ...known], { stdio: ['ignore', 'pipe', 'pipe'] });
const url = await new Promise((serves, fails) => {
  for (const stream of [connect.stdout, connect.stderr]) {
    createInterface(stream).on('line', (line) => {
      console.error(line);
      const found = line.match(/http:\/\/127\.0\.0\.1:\d+[^\s"]*/);
      if (found) {
        serves(found[0]);
      }
    });
  }
  connect.on('exit', (code) => fails(new Error(`connect has ended with ${code}`)));
});

const modern = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION === '2026-07-28';
const mode = modern ? { pin: '2026-07-28' } : 'legacy';
const client = new Client({ name: 'countermark-conformance', version: '1' }, { versionNegotiation: { mode } });
let code = 0;
try {
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  const { tools } = await client.listTools();
  for (const tool of tools) {
    await client.callTool({ name: tool.name, arguments: {} });
  }
  console.log(`called ${tools.length} tools`);
} catch (error) {
  console.error(`${error}`);
  code = 1;
}
const ended = new Promise((ends) => connect.on('exit', ends));
connect.kill();
await ended;
process.exit(code);
