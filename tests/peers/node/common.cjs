// What server and client share: WebSockets of `ws` on streams of node:http2 (RFC 8441).
'use strict';

const { extension, PerMessageDeflate, WebSocket } = require('ws');

const NAME = PerMessageDeflate.extensionName;
const HEADER = 'sec-websocket-extensions';
const OPTIONS = { allowSynchronousEvents: true, maxPayload: 1 << 24, skipUTF8Validation: false };

// Its own parser takes no empty header.
const parse = (headers) => (headers[HEADER] ? extension.parse(headers[HEADER]) : {});

// Answers an extended CONNECT.
exports.accept = (stream, headers, deflate) => {
  const answer = { ':status': 200 };
  const extensions = {};
  const offers = parse(headers);
  if (deflate && offers[NAME]) {
    const agreed = new PerMessageDeflate({ isServer: true, threshold: 0 });
    agreed.accept(offers[NAME]);
    extensions[NAME] = agreed;
    answer[HEADER] = extension.format({ [NAME]: [agreed.params] });
  }
  stream.respond(answer);
  return carry(stream, extensions, true);
};

// Asks by extended CONNECT; gives a promise of the WebSocket.
exports.ask = (session, url, deflate) =>
  new Promise((resolve, reject) => {
    const headers = {
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':scheme': url.protocol === 'wss:' ? 'https' : 'http',
      ':authority': url.host,
      ':path': url.pathname + url.search,
      'sec-websocket-version': '13',
      origin: 'https://example.com',
    };
    const offer = new PerMessageDeflate({ isServer: false, threshold: 0 });
    if (deflate) headers[HEADER] = extension.format({ [NAME]: offer.offer() });
    const stream = session.request(headers);
    stream.on('error', reject);
    stream.on('response', (answer) => {
      if (answer[':status'] !== 200) return reject(new Error(`the answer is ${answer[':status']}`));
      const extensions = {};
      const answers = parse(answer);
      if (answers[NAME]) {
        offer.accept(answers[NAME]);
        extensions[NAME] = offer;
      }
      resolve(carry(stream, extensions, false));
    });
  });

function carry(stream, extensions, isServer) {
  const ws = new WebSocket(null, undefined, { autoPong: true, closeTimeout: 1000 });
  ws._isServer = isServer;
  Object.assign(ws._extensions, extensions);
  ws.setSocket(stream, Buffer.alloc(0), OPTIONS);
  return ws;
}
