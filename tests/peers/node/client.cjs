// Opens a WebSocket by `ws`, over HTTP/1.1 or on a stream of node:http2, and holds one conversation of tests/peers/conversation.py.
// Arguments: URL, HTTP version, "deflate" or "plain", what to check, the certificate to trust. Prints how it ended, as JSON.
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const http2 = require('node:http2');
const { once } = require('node:events');
const { WebSocket } = require('ws');
const conversation = require('../conversation.cjs');
const { ask } = require('./common.cjs');

const [address, version, compression, check, cert] = process.argv.slice(2);
const url = new URL(address);
const deflate = compression === 'deflate';
const tls = cert ? { ca: fs.readFileSync(cert), servername: 'localhost' } : {};
const { came, ended, exchange, FRAGMENTS, recv, say } = conversation;
const WHOLE = FRAGMENTS.join('');

const CHECKS = {
  ...conversation.CHECKS,
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
  ws.on('message', (data, binary) => came(binary ? data : data.toString()));
  const over = new Promise((resolve, reject) => {
    ws.on('error', reject);
    ws.on('close', (code, reason) => {
      const how = { code, reason: reason.toString() };
      ended(how);
      resolve(how);
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
