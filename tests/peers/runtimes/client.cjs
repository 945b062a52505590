// Opens a WebSocket by the interface of browsers, in any runtime that has it, and holds one conversation of
// tests/peers/conversation.py. Arguments: URL, HTTP version, what to check, and "undici" for that in place of the runtime's own.
// Prints how it ended, as JSON.
'use strict';

const assert = require('node:assert');
const { Buffer } = require('node:buffer');
const process = require('node:process');
const conversation = require('../conversation.cjs');

const [url, version, check, library] = process.argv.slice(2);
const { came, ended, exchange, FRAGMENTS, recv, say } = conversation;

function connect() {
  if (library === 'undici') {
    const { Agent, WebSocket } = require('undici');
    return new WebSocket(url, { dispatcher: new Agent({ allowH2: version === '2' }) });
  }
  if (globalThis.Deno && version === '2') {
    const client = Deno.createHttpClient({ http1: false, http2: true });
    return new WebSocket(url, { client });
  }
  return new WebSocket(url);
}

const CHECKS = {
  ...conversation.CHECKS,
  async fragments(ws) {
    ws.send('in fragments, please');
    assert.strictEqual(await recv(), FRAGMENTS.join(''));
    ws.close(1000);
  },
  async pings(ws) {
    ws.send('in fragments with pings, please');
    assert.strictEqual(await recv(), FRAGMENTS.join(''));
    await exchange(ws, 'and after');
    ws.close(1000);
  },
  async refused() {
    throw new Error('it is open');
  },
};

async function main() {
  const ws = connect();
  ws.binaryType = 'arraybuffer';
  ws.onmessage = ({ data }) => came(typeof data === 'string' ? data : Buffer.from(data));
  let how;
  const over = new Promise((resolve) => {
    ws.onclose = ({ code, reason, wasClean }) => {
      how = { code, reason, clean: wasClean };
      ended(how);
      resolve(how);
    };
  });
  const opened = new Promise((resolve) => (ws.onopen = resolve));
  await Promise.race([opened, over]);
  if (!how) await CHECKS[check](ws);
  say(await over);
}

// A WebSocket over HTTP/2 does not keep Node running.
const running = setInterval(() => {}, 1000);
main()
  .then(() => 0, (error) => (say({ error: String(error) }), 1))
  .then((code) => {
    clearInterval(running);
    process.exit(code);
  });
