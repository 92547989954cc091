local protocols = dofile(debug.getinfo(1, "S").source:match("^@(.*)/http2/") .. "/soak/protocols.lua")

describe("ten reloads that change the certificate under HTTP/2 and WebSockets over TLS", function()
  it("drop nothing and leave nothing behind", function() protocols.run(10, 5) end)
end)
