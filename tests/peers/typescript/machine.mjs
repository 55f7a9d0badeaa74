// The client that the conformance suite starts: the TypeScript SDK behind `connect`. It lists the tools and calls them all. The
// suite's servers speak TLS by `secure.mjs`.

import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
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

// A secret goes to nobody whom only the called server names: the operator looks up who that is, and here this does.
async function issuer() {
  const answer = await fetch(new URL(`/.well-known/oauth-protected-resource${served.pathname}`, served));
  const { authorization_servers: [named] } = await answer.json();
  return named;
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

const flags = ['--to', served.href, '--server', given.server, '--identity', `${given.home}/billing-bot`, '--listen', '127.0.0.1:0'];
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
