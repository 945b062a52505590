// Serves WebSockets by `ws`: over HTTP/1.1 by its own server, over HTTP/2 on streams of node:http2.
// Arguments: HTTP version, "deflate" or "plain", and a certificate and its key for TLS. Prints a line of JSON for its port and for
// each WebSocket that has ended.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const http2 = require('node:http2');
const https = require('node:https');
const { WebSocketServer } = require('ws');
const { FRAGMENTS, say } = require('../conversation.cjs');
const { accept } = require('./common.cjs');

const [version, compression, cert, key] = process.argv.slice(2);
const deflate = compression === 'deflate';
const tls = cert && { cert: fs.readFileSync(cert), key: fs.readFileSync(key) };

function serve(ws) {
  ws.on('message', (data, binary) => {
    const text = binary ? undefined : data.toString();
    if (text === 'close, please') {
      ws.close(4002, 'bis später');
    } else if (text === 'in fragments, please' || text === 'in fragments with pings, please') {
      for (const fragment of FRAGMENTS) {
        ws.send(fragment, { fin: false, compress: true });
        if (text.includes('pings')) ws.ping('are you there?');
      }
      ws.send('', { fin: true, compress: true });
    } else {
      ws.send(data, { binary });
    }
  });
  ws.on('error', (error) => say({ code: null, reason: String(error) }));
  ws.on('close', (code, reason) => say({ code, reason: reason.toString() }));
}

let server;
if (version === '2') {
  const settings = { enableConnectProtocol: true };
  server = tls ? http2.createSecureServer({ ...tls, settings }) : http2.createServer({ settings });
  server.on('stream', (stream, headers) => {
    if (headers[':method'] !== 'CONNECT' || headers[':protocol'] !== 'websocket') {
      stream.respond({ ':status': 404 }, { endStream: true });
      return;
    }
    serve(accept(stream, headers, deflate));
  });
} else {
  server = tls ? https.createServer(tls) : http.createServer();
  new WebSocketServer({ server, perMessageDeflate: deflate && { threshold: 0 } }).on('connection', serve);
}
server.listen(0, '127.0.0.1', () => say({ port: server.address().port }));
