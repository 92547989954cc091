local protocols = dofile(debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$") .. "/protocols.lua")

describe("100 reloads that change the certificate under HTTP/2 and WebSockets over TLS", function()
  it("drop nothing and leave nothing behind", function()
    local counts, before, after = protocols.run(100, 20)
    io.write(("\n%d requests, %d and %d messages of WebSockets over HTTP/1.1 and HTTP/2; %.1f -> %.1f MiB\n"):format(
      counts.requests, counts.h1_messages, counts.h2_messages, before.bytes / 2 ^ 20, after.bytes / 2 ^ 20))
  end)
end)
