--- A browser through the gateway, over TLS and HTTP/2: headless Chromium loads a page that fetches,
--- listens to events and talks through a WebSocket, and reports what it saw.
local kit = require("gateway.spec")
local certs_of = dofile(debug.getinfo(1, "S").source:match("^@(.*)/proxy/") .. "/tls/certs.lua")

local PAGE = [[
<!doctype html><title>page</title><script>
const report = { events: [], messages: [], errors: [] };
const tell = () => fetch("/report", { method: "POST", body: JSON.stringify(report) });
window.onerror = (e) => { report.errors.push(String(e)); tell(); };
window.onunhandledrejection = (e) => { report.errors.push(String(e.reason)); tell(); };
(async () => {
  const posted = await fetch("/echo", { method: "POST", body: "x".repeat(300000) });
  report.echoed = (await posted.text()).length;
  report.missing = (await fetch("/missing")).status;
  await new Promise((done, broken) => {
    const source = new EventSource("/events");
    source.onerror = () => broken("events: error");
    source.onmessage = (e) => {
      report.events.push(e.data);
      if (e.data === "4") { source.close(); done(); } else fetch("/seen/" + e.data);
    };
  });
  await new Promise((done, broken) => {
    const socket = new WebSocket("wss://" + location.host + "/chat");
    const sent = ["a", "b".repeat(100000), "c"];
    socket.onopen = () => socket.send(sent[0]);
    socket.onerror = () => broken("WebSocket: error");
    socket.onmessage = (e) => {
      report.messages.push(e.data.length);
      if (e.data !== sent[report.messages.length - 1]) broken("WebSocket: not what was sent");
      if (report.messages.length < sent.length) socket.send(sent[report.messages.length]); else socket.close(1000);
    };
    socket.onclose = (e) => { report.close = e.code; done(); };
  });
  report.protocols = performance.getEntries().filter((e) => e.nextHopProtocol !== undefined)
    .map((e) => new URL(e.name).pathname + " " + e.nextHopProtocol);
  await tell();
})();
</script>]]

local CONF = [[
listen:
  - name: secure
    address: "127.0.0.1:0"
    http2: true
    tls: { certificates: [ { certificate: tls/one.pem, key: tls/one.key } ] }
routes:
  - { name: chat, match: { path: /chat }, upstream: "${CHAT}" }
  - { name: all, match: { path: "/*" }, upstream: "${UPSTREAM}" }
]]

local function browser()
  for _, name in ipairs { "chromium", "google-chrome", "chrome" } do
    if kit.run("sh", { "-c", "command -v " .. name }) == 0 then
      return name
    end
  end
end

describe("Chromium", function()
  local program = browser()
  if not program then
    pending("loads a page over HTTP/2 (needs chromium)")
    return
  end

  it("loads a page over HTTP/2, hears events one by one and talks through a WebSocket", function()
    local certs = certs_of.make { one = { names = { "localhost" } } }
    local seen, reported = {}, nil
    local upstream, chat = kit.upstream(), kit.upstream()
    chat:on(kit.websocket.echo)

    --- Each event is sent once the page has said that it saw the one before.
    local function events(conn)
      conn:write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
      for i = 1, 4 do
        local event = ("data: %d\n\n"):format(i)
        conn:write(("%x\r\n%s\r\n"):format(#event, event))
        kit.eventually(function() return i == 4 or seen["/seen/" .. i] end, 20)
      end
      conn:closed(20)
    end

    upstream:on(function(conn)
      while true do
        local head = conn:read_request(60)
        if not head then
          return
        end
        local target, body, status, kind = head.target, "ok", "200 OK", "text/plain"
        if target == "/events" then
          return events(conn)
        elseif target == "/" then
          body, kind = PAGE, "text/html"
        elseif target == "/echo" then
          body = head.body
        elseif target == "/report" then
          reported = gw.json.decode(head.body)
        elseif target:find("^/seen/") then
          seen[target] = true
        else
          status = "404 Not Found"
        end
        conn:write(("HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"):format(status, kind,
          #body, body))
      end
    end)
    local gateway = kit.gateway { conf = CONF, files = certs_of.files(certs),
      env = { UPSTREAM = upstream:url(), CHAT = chat:url() } }
    local page = kit.start(program, { "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
      "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
      "--remote-debugging-port=0", "--ignore-certificate-errors", "--user-data-dir=" .. certs.dir .. "/profile",
      ("https://localhost:%d/"):format(gateway:port()) }, { env = { HOME = certs.dir } })

    kit.eventually(function() return reported ~= nil end, 40)
    page:signal_now("TERM")
    page:wait(10)
    certs_of.remove(certs)

    assert.same({}, reported.errors)
    assert.equal(300000, reported.echoed)
    assert.equal(404, reported.missing)
    assert.same({ "1", "2", "3", "4" }, reported.events)
    assert.same({ 1, 100000, 1 }, reported.messages)
    assert.equal(1000, reported.close)
    assert.truthy(#reported.protocols >= 4)
    for _, line in ipairs(reported.protocols) do
      assert.truthy(line:find(" h2$"), line)
    end
    assert.truthy(chat:request().headers.via:find("^2"), "the WebSocket did not come by HTTP/2")
  end)
end)
