// Opens a WebSocket by `ws`, over HTTP/1.1 or on a stream of node:http2, and holds one conversation of tests/peers/conversation.py.
// Arguments: URL, HTTP version, "deflate" or "plain", what to check, the certificate to trust. Prints how it ended, as JSON.
'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http2 = require('node:http2');
const { once } = require('node:events');
const { WebSocket } = require('ws');
const { ask, FRAGMENTS, say } = require('./common.cjs');

const [address, version, compression, check, cert] = process.argv.slice(2);
const url = new URL(address);
const deflate = compression === 'deflate';
const tls = cert ? { ca: fs.readFileSync(cert), servername: 'localhost' } : {};
const WHOLE = FRAGMENTS.join('');
const SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20];

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
  assert.ok(Buffer.isBuffer(message) ? Buffer.isBuffer(echo) && message.equals(echo) : message === echo, 'the echo differs');
}

const textOf = (size) => {
  const text = Buffer.from('Maß мир 水 🥊 x=1; '.repeat(size / 20 + 1)).subarray(0, size).toString().replace(/�+$/, '');
  return text + '.'.repeat(size - Buffer.byteLength(text));
};
const binaryOf = (size) => Buffer.concat([crypto.randomBytes(size >> 1), Buffer.alloc(size - (size >> 1))]);

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
    // Fragments may end within a character.
    const data = Buffer.from(WHOLE);
    for (const [from, to] of [[0, 3], [3, 3], [3, 4], [4, 2000], [2000, data.length - 2]]) {
      ws.send(data.subarray(from, to), { binary: false, fin: false, compress: true });
    }
    ws.send(data.subarray(data.length - 2), { binary: false, fin: true, compress: true });
    assert.strictEqual(await recv(), WHOLE);
    ws.send('in fragments, please');
    assert.strictEqual(await recv(), WHOLE);
    ws.close(1000);
  },
  async pings(ws) {
    ws.ping('are you there?');
    const [data] = await once(ws, 'pong');
    assert.strictEqual(data.toString(), 'are you there?');
    for (const fragment of FRAGMENTS) {
      ws.send(fragment, { fin: false, compress: true });
      ws.ping();
    }
    ws.send('', { fin: true, compress: true });
    assert.strictEqual(await recv(), WHOLE);
    ws.send('in fragments with pings, please');
    assert.strictEqual(await recv(), WHOLE);
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
};

async function main() {
  let session;
  let ws;
  if (version === '2') {
    session = http2.connect(`${url.protocol === 'wss:' ? 'https' : 'http'}://127.0.0.1:${url.port}`, tls);
    await once(session, 'remoteSettings');
    assert.ok(session.remoteSettings.enableConnectProtocol, 'extended CONNECT is off');
    ws = await ask(session, url, deflate);
  } else {
    ws = new WebSocket(url, { ...tls, perMessageDeflate: deflate && { threshold: 0 }, family: 4 });
  }
  ws.on('message', (data, binary) => {
    inbox.push(binary ? data : data.toString());
    wake();
  });
  const over = new Promise((resolve, reject) => {
    ws.on('error', reject);
    ws.on('close', (code, reason) => {
      ended = { code, reason: reason.toString() };
      wake();
      resolve(ended);
    });
  });
  if (ws.readyState !== WebSocket.OPEN) await Promise.race([once(ws, 'open'), over]);
  await CHECKS[check](ws);
  say(await over);
  session?.close();
}

main().catch((error) => {
  say({ error: String(error) });
  process.exit(1);
});
