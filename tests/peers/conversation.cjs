// What clients in JavaScript share of tests/peers/conversation.py: the messages, those that came, and checks that any WebSocket can hold.
'use strict';

const assert = require('node:assert');
const { Buffer } = require('node:buffer');
const { randomBytes } = require('node:crypto');
const process = require('node:process');

const SIZES = [0, 1, 125, 126, 65535, 65536, 1 << 20];
const FRAGMENTS = ['Zwölf Boxkämpfer ', '', 'jagen Viktor ', 'quer über den ', 'großen Sylter Deich. '.repeat(500), '🥊'];

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const textOf = (size) => {
  const text = Buffer.from('Maß мир 水 🥊 x=1; '.repeat(size / 20 + 1)).subarray(0, size).toString().replace(/�+$/, '');
  return text + '.'.repeat(size - Buffer.byteLength(text));
};
const binaryOf = (size) => Buffer.concat([randomBytes(size >> 1), Buffer.alloc(size - (size >> 1))]);

const inbox = [];
let wake = () => {};
let ending;

// A message came: text as a string, binary as a Buffer.
function came(message) {
  inbox.push(message);
  wake();
}

// Nothing more comes.
function ended(how) {
  ending = how;
  wake();
}

async function recv() {
  while (inbox.length === 0) {
    if (ending) throw new Error(`it ended with ${JSON.stringify(ending)}`);
    await new Promise((resolve) => (wake = resolve));
  }
  return inbox.shift();
}

async function exchange(ws, message) {
  ws.send(message);
  const echo = await recv();
  assert.ok(typeof message === 'string' ? message === echo : Buffer.isBuffer(echo) && message.equals(echo), 'the echo differs');
}

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
  async 'client closes'(ws) {
    await exchange(ws, 'one');
    ws.close(4001, 'fertig für heute');
  },
  async 'server closes'(ws) {
    await exchange(ws, 'one');
    ws.send('close, please');
  },
};

module.exports = { CHECKS, FRAGMENTS, came, ended, exchange, recv, say };
