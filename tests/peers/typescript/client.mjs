// Lists the tools, calls one that answers and one that is denied, and prints what came back as one line of JSON.
// `--sdk client` is @modelcontextprotocol/client, `--sdk sdk` the older @modelcontextprotocol/sdk.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: given, positionals: command } = parseArgs({
  allowPositionals: true,
  options: {
    sdk: { type: 'string', default: 'client' },
    url: { type: 'string' },
    identity: { type: 'string' },
    allow: { type: 'string' },
    arguments: { type: 'string', default: '{}' },
    deny: { type: 'string' },
  },
});

// The packages lie where the peers were set up, which is the working directory.
const require = createRequire(`${process.cwd()}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);

const modules = {
  client: ['@modelcontextprotocol/client', '@modelcontextprotocol/client', '@modelcontextprotocol/client/stdio'],
  sdk: [
    '@modelcontextprotocol/sdk/client/index.js',
    '@modelcontextprotocol/sdk/client/streamableHttp.js',
    '@modelcontextprotocol/sdk/client/stdio.js',
  ],
}[given.sdk];
const { Client } = await load(modules[0]);

const client = new Client({ name: `typescript-${given.sdk}`, version: '1' });
await client.connect(await transport());
const { tools } = await client.listTools();
const report = {
  tools: tools.map((tool) => tool.name),
  allowed: await call(given.allow, JSON.parse(given.arguments)),
  denied: await call(given.deny, {}),
};
console.log(JSON.stringify(report));
await client.close();
process.exit(0);

async function transport() {
  if (command.length > 0) {
    const { StdioClientTransport } = await load(modules[2]);
    return new StdioClientTransport({ command: command[0], args: command.slice(1) });
  }
  const { StreamableHTTPClientTransport } = await load(modules[1]);
  return new StreamableHTTPClientTransport(new URL(given.url), { fetch: await fetcher() });
}

// A fetch that presents a certificate and trusts one authority alone.
async function fetcher() {
  if (!given.identity) return fetch;
  const { Agent, fetch: undici } = await load('undici');
  const read = (name) => readFileSync(`${given.identity}/${name}`);
  const dispatcher = new Agent({ connect: { ca: read('ca.crt'), cert: read('tls.crt'), key: read('tls.key') } });
  return (url, init) => undici(url, { ...init, dispatcher });
}

async function call(name, args) {
  try {
    return { result: await client.callTool({ name, arguments: args }) };
  } catch (error) {
    return { code: error.code, message: error.message };
  }
}
