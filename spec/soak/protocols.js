// Clients of all kinds over TLS on one port, until stdin says something: HTTP/2 requests, WebSockets
// over HTTP/1.1 and over HTTP/2. A row of JSON at the end: how much of each, and what failed.
// argv: port, file of the authority.
const http2 = require("http2"), tls = require("tls"), fs = require("fs"), crypto = require("crypto");

const port = Number(process.argv[1]), ca = fs.readFileSync(process.argv[2]);
const counts = { requests: 0, h1_messages: 0, h2_messages: 0, certificates: 0 };
const failed = [], serials = new Set();
let over = false;

function fail(what, error) {
  if (!over || what === "end") failed.push(what + ": " + (error && (error.stack || error.message) || error));
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function session() {
  const s = http2.connect("https://localhost:" + port, { ca, settings: { enablePush: false } });
  s.on("error", (e) => fail("session", e));
  s.on("goaway", (code) => fail("goaway", code));
  s.on("close", () => fail("session closed", ""));
  return s;
}

function ask(s, path, body) {
  return new Promise((done, broken) => {
    const stream = s.request({ ":path": path, ":method": body ? "POST" : "GET" });
    const pieces = [];
    let status = 0;
    stream.on("response", (head) => { status = head[":status"]; });
    stream.on("data", (data) => pieces.push(data));
    stream.on("error", broken);
    stream.on("close", () => {
      const text = Buffer.concat(pieces).toString();
      if (status !== 200 || text !== (body || "hello\n"))
        return broken(new Error(path + " gave " + status + " " + text.length + " rst " + stream.rstCode));
      counts.requests++;
      done();
    });
    stream.end(body);
  });
}

async function asking(s, path, body) {
  try {
    while (!over) { await ask(s, path, body); await pause(1); }
  } catch (e) { fail("request", e); }
}

// Sessions that come and go, so that each certificate is seen.
async function fresh() {
  try {
    while (!over) {
      const s = http2.connect("https://localhost:" + port, { ca });
      s.on("error", (e) => fail("fresh session", e));
      await ask(s, "/hello");
      serials.add(s.socket.getPeerCertificate().serialNumber);
      await new Promise((done) => s.close(done));
      await pause(5);
    }
  } catch (e) { fail("fresh", e); }
}

function frame(opcode, payload) {
  const mask = crypto.randomBytes(4), body = Buffer.from(payload);
  for (let i = 0; i < body.length; i++) body[i] ^= mask[i % 4];
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | body.length]), mask, body]);
}

// One message after another, each of which must come back as it went. -> a promise of the end.
function chat(write, listen, count) {
  return new Promise((done) => {
    let buffer = Buffer.alloc(0), n = 0, expected, closing = false;
    const next = () => {
      if (over) { closing = true; write(frame(8, Buffer.from([3, 232]))); return; }
      expected = Buffer.from("message " + n++);
      write(frame(1, expected));
    };
    listen((data) => {
      if (data === null) { if (!closing) fail("WebSocket", "ended"); return done(); }
      buffer = Buffer.concat([buffer, data]);
      while (buffer.length >= 2 && buffer.length >= 2 + (buffer[1] & 127)) {
        const opcode = buffer[0] & 15, payload = buffer.subarray(2, 2 + (buffer[1] & 127));
        buffer = buffer.subarray(2 + payload.length);
        if (opcode === 8) {
          if (!closing) fail("WebSocket", "Close " + payload.readUInt16BE(0));
          return done();
        }
        if (!payload.equals(expected)) fail("WebSocket", "got " + payload + ", not " + expected);
        counts[count]++;
        setTimeout(next, 2);
      }
    });
    next();
  });
}

function h1_socket() {
  return new Promise((done) => {
    const s = tls.connect({ port, host: "127.0.0.1", servername: "localhost", ca, ALPNProtocols: ["http/1.1"] }, () => {
      s.write("GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    });
    s.on("error", (e) => fail("h1 WebSocket", e));
    s.once("data", (head) => {
      if (!/^HTTP\/1.1 101 [^]*\r\n\r\n$/.test(head.toString())) fail("h1 handshake", head.toString());
      const end = chat((data) => s.write(data), (take) => {
        s.on("data", take); s.on("close", () => take(null));
      }, "h1_messages").then(() => s.end());
      done({ end });
    });
  });
}

function h2_socket(s) {
  return new Promise((done) => {
    const stream = s.request({ ":method": "CONNECT", ":protocol": "websocket", ":path": "/chat",
      "sec-websocket-version": "13" });
    stream.on("error", (e) => fail("h2 WebSocket", e));
    stream.on("response", (head) => {
      if (head[":status"] !== 200) fail("h2 handshake", head[":status"]);
      const end = chat((data) => stream.write(data), (take) => {
        stream.on("data", take); stream.on("close", () => take(null));
      }, "h2_messages").then(() => stream.end());
      done({ end });
    });
  });
}

const settled = (s) => new Promise((done) => s.once("remoteSettings", done));

(async () => {
  const sessions = [session(), session(), session()], work = [], sockets = [];
  await Promise.all(sessions.map(settled));
  // Open before the first reload, closed behind the last.
  for (let i = 0; i < 6; i++) {
    sockets.push(await h1_socket());
    sockets.push(await h2_socket(sessions[i % 3]));
  }
  for (const s of sessions) {
    for (let i = 0; i < 4; i++) work.push(asking(s, "/hello"));
    work.push(asking(s, "/echo", "body ".repeat(4000)));
  }
  work.push(fresh());
  console.log("ready");
  process.stdin.once("data", async () => {
    over = true;
    await Promise.all(work.concat(sockets.map((s) => s.end)));
    sessions.forEach((s) => s.close());
    counts.certificates = serials.size;
    console.log(JSON.stringify({ counts, failed }));
    process.exit(0);
  });
})().catch((e) => { console.error(e); process.exit(1); });
