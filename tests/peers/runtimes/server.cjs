// Serves WebSockets by Bun.serve or Deno.serve, whichever is there. Arguments: "deflate" or "plain", and a certificate and its key for
// TLS. Prints a line of JSON for its port and for each WebSocket that has ended.
'use strict';

const fs = require('node:fs');
const process = require('node:process');
const { say } = require('../conversation.cjs');

const [compression, cert, key] = process.argv.slice(2);
const tls = cert && { cert: fs.readFileSync(cert, 'utf8'), key: fs.readFileSync(key, 'utf8') };

function answer(ws, data) {
  if (data === 'close, please') ws.close(4002, 'bis später');
  else ws.send(data);
}

if (globalThis.Bun) {
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    tls: tls || undefined,
    fetch: (request, server) => (server.upgrade(request) ? undefined : new Response('no', { status: 400 })),
    websocket: {
      perMessageDeflate: compression === 'deflate',
      message: answer,
      close: (ws, code, reason) => say({ code, reason }),
    },
  });
  say({ port: server.port });
} else {
  const serve = (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = ({ data }) => answer(socket, data);
    socket.onclose = ({ code, reason }) => say({ code, reason });
    return response;
  };
  Deno.serve({ hostname: '127.0.0.1', port: 0, onListen: ({ port }) => say({ port }), ...tls }, serve);
}
