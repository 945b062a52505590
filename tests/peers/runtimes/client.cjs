// Opens a WebSocket by the interface of browsers, in any runtime that has it, and holds one conversation of
// tests/peers/conversation.py. Arguments: URL, HTTP version, what to check, and "undici" for that in place of the runtime's own.
// Prints how it ended, as JSON.
'use strict';

const assert = require('node:assert');
const { Buffer } = require('node:buffer');
const process = require('node:process');

const [url, version, check, library] = process.argv.slice(2);
const FRAGMENTS = ['Zwölf Boxkämpfer ', '', 'jagen Viktor ', 'quer über den ', 'großen Sylter Deich. '.repeat(500), '🥊'];
const SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20];

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

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

const inbox = [];
let wake = () => {};
let ended;

async function recv() {
  while (inbox.length === 0) {
    if (ended) throw new Error(`it ended with ${JSON.stringify(ended)}`);
    await new Promise((resolve) => (wake = resolve));
  }
  return inbox.shift();
}

async function exchange(ws, message) {
  ws.send(message);
  const echo = await recv();
  const same = typeof message === 'string' ? message === echo : typeof echo !== 'string' && message.equals(Buffer.from(echo));
  assert.ok(same, 'the echo differs');
}

const textOf = (size) => {
  const text = Buffer.from('Maß мир 水 🥊 x=1; '.repeat(size / 20 + 1)).subarray(0, size).toString().replace(/�+$/, '');
  return text + '.'.repeat(size - Buffer.byteLength(text));
};
const binaryOf = (size) => Buffer.from(Uint8Array.from({ length: size }, (_, index) => (index % 2 ? Math.random() * 256 : 0)));

const CHECKS = {
  async messages(ws) {
    for (const size of SIZES) {
      await exchange(ws, textOf(size));
      await exchange(ws, binaryOf(size));
    }
    for (let number = 0; number < 100; number++) ws.send(`message ${number}`);
    for (let number = 0; number < 100; number++) assert.strictEqual(await recv(), `message ${number}`);
    ws.close(1000);
  },
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
  async 'client closes'(ws) {
    await exchange(ws, 'one');
    ws.close(4001, 'fertig für heute');
  },
  async 'server closes'(ws) {
    await exchange(ws, 'one');
    ws.send('close, please');
  },
  async refused() {
    throw new Error('it is open');
  },
};

async function main() {
  const ws = connect();
  ws.binaryType = 'arraybuffer';
  ws.onmessage = ({ data }) => {
    inbox.push(data);
    wake();
  };
  const over = new Promise((resolve) => {
    ws.onclose = ({ code, reason, wasClean }) => {
      ended = { code, reason, clean: wasClean };
      wake();
      resolve(ended);
    };
  });
  const opened = new Promise((resolve) => (ws.onopen = resolve));
  await Promise.race([opened, over]);
  if (!ended) await CHECKS[check](ws);
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
