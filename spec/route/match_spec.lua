local kit = require("gateway.spec")

--- A route that answers with its own name.
local function says(name, match, more)
  return ("  - { name: %s, match: { %s }, respond: { body: %s }%s }\n"):format(name, match, name,
    more or "")
end

local function routes(list)
  return "routes:\n" .. table.concat(list)
end

local function gateway_of(list, more)
  return kit.gateway { conf = (more or "") .. routes(list) }
end

--- Asks each { target, what is said } (or a status); headers and method may stand behind.
local function holds(gateway, rows)
  local client = kit.client(gateway)
  for _, row in ipairs(rows) do
    local answer = client:request { method = row.method or "GET", path = row[1], host = row.host,
      headers = row.headers }
    local got = answer.status == 200 and answer.body or answer.status
    assert.equal(row[2], got, ("%s %s"):format(row.host or "", row[1]))
  end
end

describe("matching", function()
  it("prefers priority, over all hosts and paths", function()
    holds(gateway_of {
      says("exact", 'hosts: [ a.com ], path: /x'),
      says("high", 'path: "/*"', ", priority: 10"),
      says("low", 'hosts: [ a.com ], path: /y', ", priority: -1"),
    }, { { "/x", "high", host = "a.com" }, { "/y", "high", host = "a.com" } })
  end)

  it("prefers the exact host, then the longest wildcard, then none", function()
    holds(gateway_of {
      says("none", 'path: "/*"'),
      says("wild", 'hosts: [ "*.com" ]'),
      says("longer", 'hosts: [ "*.example.com" ]'),
      says("exact", 'hosts: [ api.example.com ]'),
    }, {
      { "/", "exact", host = "api.example.com" },
      { "/", "exact", host = "API.Example.COM" },
      { "/", "exact", host = "api.example.com:8080" },
      { "/", "exact", host = "api.example.com." },
      { "/", "longer", host = "www.example.com" },
      { "/", "longer", host = "a.b.example.com" },
      { "/", "wild", host = "example.com" },
      { "/", "none", host = "example.org" },
      { "/", "none", host = "com" },
    })
  end)

  it("falls from an exact host without a fitting route to the wildcard, then to none", function()
    holds(gateway_of {
      says("exact", "hosts: [ api.example.com ], path: /only"),
      says("wild", 'hosts: [ "*.example.com" ], path: "/w/*"'),
      says("none", 'path: "/n/*"'),
    }, {
      { "/only", "exact", host = "api.example.com" },
      { "/w/1", "wild", host = "api.example.com" },
      { "/n/1", "none", host = "api.example.com" },
      { "/else", 404, host = "api.example.com" },
      { "/only", 404, host = "www.example.com" },
    })
  end)

  it("prefers the exact path, then :id, then the regex, then the longest prefix", function()
    holds(gateway_of {
      says("prefix", 'path: "/a/*"'),
      says("longer", 'path: "/a/b/*"'),
      says("regex", 'path: "~^/a/[a-z]+$"'),
      says("param", "path: /a/:id/c"),
      says("exact", "path: /a/exact"),
      says("rest", 'path: "/*"'),
    }, {
      { "/a/exact", "exact" }, { "/a/letters", "regex" }, { "/a/9", "prefix" },
      { "/a/b/9", "longer" }, { "/a/9/c", "param" }, { "/a/b/c", "param" }, { "/a/9/c/", "prefix" },
      { "/a/", "prefix" }, { "/a", "rest" }, { "/", "rest" }, { "/a//c", "prefix" },
    })
  end)

  it("prefers more conditions, then the order in the files", function()
    holds(gateway_of {
      says("first", "path: /x"), says("second", "path: /x"),
      says("header", 'path: /x, headers: { x-a: "1" }'),
      says("both", 'path: /x, headers: { x-a: "1" }, query: { q: "*" }'),
    }, {
      { "/x", "first" },
      { "/x", "header", headers = { ["X-A"] = "1" } },
      { "/x?q=2", "both", headers = { ["X-A"] = "1" } },
      { "/x?q=2", "first" },
    })
  end)

  it("asks headers for a value, a regex, or being there", function()
    holds(gateway_of {
      says("value", 'path: /v, headers: { x-api: "2" }'),
      says("regex", 'path: /r, headers: { x-api: "~^v[0-9]$" }'),
      says("any", 'path: /a, headers: { x-api: "*" }'),
    }, {
      { "/v", "value", headers = { ["X-API"] = "2" } }, { "/v", 404, headers = { ["X-API"] = "22" } },
      { "/v", 404 }, { "/r", "regex", headers = { ["x-api"] = "v7" } },
      { "/r", 404, headers = { ["x-api"] = "v77" } }, { "/a", "any", headers = { ["x-api"] = "q" } },
      { "/a", 404 },
    })
  end)

  it("asks the query, decoded", function()
    holds(gateway_of {
      says("value", 'path: /v, query: { q: "a b" }'), says("any", 'path: /a, query: { q: "*" }'),
      says("regex", 'path: /r, query: { q: "~^[0-9]+$" }'),
    }, {
      { "/v?q=a%20b", "value" }, { "/v?x=1&q=a+b", "value" }, { "/v?q=ab", 404 }, { "/v", 404 },
      { "/a?q", "any" }, { "/a?qq=1", 404 }, { "/r?q=12", "regex" }, { "/r?q=1x", 404 },
    })
  end)

  it("asks the client's address, the scheme and the listener", function()
    local gateway = gateway_of({
      says("here", "path: /c, client: [ 127.0.0.0/8 ]"),
      says("elsewhere", "path: /e, client: [ 10.0.0.0/8 ]"),
      says("plain", "path: /s, scheme: http"), says("tls", "path: /t, scheme: https"),
      says("inner", "path: /l, listen: [ inner ]"),
    }, 'listen: [ { name: outer, address: "127.0.0.1:0" }, '
      .. '{ name: inner, address: "127.0.0.1:0" } ]\n')

    holds(gateway, { { "/c", "here" }, { "/e", 404 }, { "/s", "plain" }, { "/t", 404 },
      { "/l", 404 } })
    assert.equal("inner", kit.client(gateway, { listener = "inner" }):get("/l").body)
  end)

  it("sees the path that the upstream would get", function()
    holds(gateway_of {
      says("admin", 'path: "/admin/*"'), says("x", "path: /x"), says("rest", 'path: "/*"'),
      says("slash", 'path: "/a%2Fb"'),
    }, {
      { "/admin/", "admin" }, { "/x/../admin/1", "admin" }, { "/%61dmin/1", "admin" },
      { "/./admin/1", "admin" }, { "/a/%2e%2e/admin/1", "admin" }, { "/x/.", "rest" },
      { "/admin%2F1", "rest" }, { "//admin/1", "rest" }, { "/a%2fb", "slash" },
      { "/../x", 400 }, { "/a\\b", 400 }, { "/%00", 400 },
    })
  end)

  it("merges slashes where the route wants it", function()
    holds(gateway_of {
      says("merged", 'path: "/m/*"', ", merge_slashes: true"), says("rest", 'path: "/*"'),
    }, { { "//m///a", "merged" }, { "/m/a", "merged" }, { "//n", "rest" } })
  end)

  it("does not see a route with enabled: false", function()
    holds(gateway_of {
      says("off", "path: /x", ", enabled: false"), says("rest", 'path: "/*"'),
    }, { { "/x", "rest" } })
  end)

  it("has 405 with Allow where only the method is wrong", function()
    local gateway = gateway_of {
      says("read", "path: /x, methods: [ GET ]"), says("write", "path: /x, methods: [ PUT, POST ]"),
      says("host", "hosts: [ a.com ], path: /x, methods: [ DELETE ]"),
    }
    local client = kit.client(gateway)

    local answer = client:request { method = "PATCH", path = "/x" }

    assert.equal(405, answer.status)
    assert.equal("GET, HEAD, POST, PUT", answer.headers["allow"])
    assert.equal("application/problem+json", answer.headers["content-type"])
    assert.equal(200, client:request { method = "HEAD", path = "/x" }.status)
    assert.equal("write", client:request { method = "POST", path = "/x" }.body)
    assert.equal(405, client:request { method = "get", path = "/x" }.status)
    assert.equal(404, client:request { method = "PATCH", path = "/y" }.status)
  end)

  it("has 404 as problem+json when nothing fits", function()
    local answer = kit.client(gateway_of { says("x", "path: /x") }):get("/nothing?a")

    assert.equal(404, answer.status)
    assert.equal("/nothing", gw.json.decode(answer.body).instance)
  end)
end)

describe("a route", function()
  local upstream

  --- What the upstream sees of this target.
  local function seen(text, target, host)
    local gateway = kit.gateway { conf = ("upstreams: { back: { targets: [ %q ] } }\nroutes:\n%s")
      :format(upstream:address(), text) }
    local answer = kit.client(gateway):request { path = target, host = host or "client.example" }
    if answer.status ~= 200 then
      return answer.status
    end
    return upstream:request().target, upstream:request().headers.host
  end

  before_each(function() upstream = kit.upstream() end)

  it("strips a prefix, in whole segments", function()
    local route = '  - { match: { path: "/*" }, strip: /v1, upstream: back }\n'

    assert.equal("/users?q=1", (seen(route, "/v1/users?q=1")))
    assert.equal("/", (seen(route, "/v1")))
    assert.equal("/", (seen(route, "/v1/")))
    assert.equal("/v10/users", (seen(route, "/v10/users")))
    assert.equal("/v1", (seen(route, "/v1/v1")))
  end)

  it("rewrites with :id, * and the groups of its regex", function()
    local function row(path, rewrite)
      return ("  - { match: { path: %q }, rewrite: %q, upstream: back }\n"):format(path, rewrite)
    end

    assert.equal("/user/7?q", (seen(row("/users/:id", "/user/:id"), "/users/7?q")))
    assert.equal("/b/a/x", (seen(row("/:a/:b", "/:b/:a/x"), "/a/b")))
    assert.equal("/new/x/y", (seen(row("/old/*", "/new/*"), "/old/x/y")))
    assert.equal("/p/12/ab", (seen(row("~^/([a-z]+)/([0-9]+)$", "/p/$2/$1"), "/ab/12")))
    assert.equal("/user/a%2Fb", (seen(row("/users/:id", "/user/:id"), "/users/a%2Fb")))
    assert.equal("/user/%3Fx=1", (seen(row("/users/:id", "/user/:id"), "/users/%3Fx=1")))
  end)

  it("sends the client's host, the target's, or a name", function()
    local function host_of(mode)
      return select(2, seen('  - { match: { path: "/*" }, upstream: back' .. mode .. " }\n", "/"))
    end

    assert.equal("client.example", host_of(""))
    assert.equal("client.example", host_of(", host: client"))
    assert.equal(upstream:address(), host_of(", host: upstream"))
    assert.equal("backend.internal", host_of(", host: backend.internal"))
  end)

  it("has a URL as its upstream", function()
    local gateway = kit.gateway { conf = ('routes: [ { match: { path: "/*" }, upstream: %q } ]\n')
      :format(upstream:url()) }

    assert.equal(200, kit.client(gateway):get("/a").status)
  end)

  it("redirects with $host, $path, $query, $scheme and names", function()
    local gateway = kit.gateway { conf = [[
routes:
  - { match: { path: "/old/*" }, redirect: "https://$host$path$query" }
  - { match: { path: "/u/:id" }, redirect: { to: "$scheme://new.example/user/$id", status: 308 } }
  - { match: { path: "/rel/*" }, redirect: { to: "/new$path", status: 301 } }
]] }
    local client = kit.client(gateway)

    local old = client:request { path = "/old/a%20b?x=1&y", host = "www.example:81" }
    local user = client:request { path = "/u/7?x" }
    local bare = client:request { path = "/old/a", host = "www.example" }

    assert.equal(302, old.status)
    assert.equal("https://www.example/old/a%20b?x=1&y", old.headers["location"])
    assert.equal("https://www.example/old/a", bare.headers["location"])
    assert.equal(308, user.status)
    assert.equal("http://new.example/user/7", user.headers["location"])
    assert.equal("/new/rel/x", client:get("/rel/x").headers["location"])
    assert.equal(301, client:get("/rel/x").status)
  end)

  it("is no open redirect", function()
    local gateway = kit.gateway { conf = [[
routes:
  - { match: { path: "/s/*" }, redirect: "$path" }
  - { match: { path: "~^/r/(.*)$" }, redirect: "/$1" }
  - { match: { path: "/t/:to" }, redirect: "$to" }
  - { match: { path: "/*" }, redirect: "$path$query" }
]] }
    local client = kit.client(gateway)

    for _, path in ipairs { "//evil.example/x", "///evil.example", "/r//evil.example",
      "/r/%2Fevil.example", "/s//evil.example", "/%5Cevil.example", "/r/%5Cevil.example",
      "/t/https:evil.example", "/.//evil.example", "/%2F/evil.example" } do
      local answer = client:get(path)
      local location = answer.headers["location"] or "/"
      assert.is_nil(location:match("^[/\\][/\\]"), path .. " -> " .. location)
      assert.is_nil(location:match("^%a+:"), path .. " -> " .. location)
    end
    -- A line break in a path can not make a header.
    local split = client:get("/a%0d%0aX-Evil:%201")
    assert.is_nil(split.headers["x-evil"])
  end)

  it("responds, with status, body and headers", function()
    local gateway = kit.gateway { conf = [[
routes:
  - name: tea
    match: { path: /tea }
    respond: { status: 418, body: "short\n", headers: { x-kind: tea, x-two: [ a, b ] } }
  - { match: { path: /json }, respond: { body: "{}", content_type: application/json } }
  - { match: { path: /none }, respond: { status: 204 } }
]] }
    local client = kit.client(gateway)

    local tea = client:get("/tea")
    assert.equal(418, tea.status)
    assert.equal("short\n", tea.body)
    assert.equal("tea", tea.headers["x-kind"])
    assert.equal("a, b", tea.headers["x-two"])
    assert.equal("text/plain; charset=utf-8", tea.headers["content-type"])
    assert.equal("application/json", client:get("/json").headers["content-type"])
    assert.equal(204, client:get("/none").status)
    local head = client:request { method = "HEAD", path = "/tea" }
    assert.equal("6", head.headers["content-length"])
    assert.equal("", head.body)
  end)

  it("has limits of its own", function()
    local gateway = kit.gateway { conf = ([[
limits: { body_size_max: 100 }
upstreams: { back: { targets: [ %q ] } }
routes:
  - { match: { path: /big }, upstream: back, limits: { body_size_max: 10k } }
  - { match: { path: /tiny }, upstream: back, limits: { body_size_max: 4 } }
  - { match: { path: "/*" }, upstream: back }
]]):format(upstream:address()) }
    local client = kit.client(gateway)

    local function post(path, size, chunked)
      return client:request { method = "POST", path = path, chunked = chunked,
        body = ("x"):rep(size) }.status
    end

    for _, chunked in ipairs { false, true } do
      assert.equal(200, post("/big", 10240, chunked))
      assert.equal(413, post("/big", 10241, chunked))
      assert.equal(200, post("/tiny", 4, chunked))
      assert.equal(413, post("/tiny", 5, chunked))
      assert.equal(200, post("/else", 100, chunked))
      assert.equal(413, post("/else", 101, chunked))
    end
  end)
end)

describe("explain", function()
  it("says what the wire says", function()
    local gateway = gateway_of({
      says("high", "path: /high, headers: { x-p: '*' }", ", priority: 5"),
      says("exact", "hosts: [ a.com ], path: /x"), says("wild", 'hosts: [ "*.a.com" ], path: "/*"'),
      says("param", "path: /p/:id"), says("regex", 'path: "~^/p/[a-z]+/e$"'),
      says("prefix", 'path: "/p/*", methods: [ GET, POST ]'),
      says("get", "path: /g, methods: [ GET ]"), says("query", 'path: /q, query: { a: "1" }'),
      says("off", "path: /off", ", enabled: false"), says("client", "path: /c, client: [ 10.0.0.1 ]"),
    })
    local client = kit.client(gateway)
    local rows = {}
    for _, host in ipairs { "a.com", "b.a.com", "c.com" } do
      for _, row in ipairs { "GET /x", "GET /high", "GET /p/7", "DELETE /p/7/8", "POST /g",
        "HEAD /g", "GET /q?a=1", "GET /q?a=2", "GET /off", "GET /c", "GET /p/ab/e" } do
        rows[#rows + 1] = { host, row:match("(%S+) (%S+)") }
      end
    end

    for _, row in ipairs(rows) do
      local host, method, target = unpack(row)
      local what = method .. " " .. host .. target
      local answer = client:request { method = method, path = target, host = host,
        headers = { ["x-p"] = "1" } }
      local _, out, err = gateway:run("explain", "--json", "-H", "x-p: 1", method,
        "http://" .. host .. target)
      local said = assert(gw.json.decode(out), out .. err)
      if answer.status == 200 then
        assert.equal("match", said.verdict, what)
        assert.equal(method == "HEAD" and said.route or answer.body, said.route, what)
      else
        assert.is_nil(said.route, what)
        assert.equal(tostring(answer.status), said.verdict, what)
        assert.equal(answer.headers["allow"], said.allow, what)
      end
    end
    assert.equal(33, #rows)
  end)

  it("has the code 0 for a match, and names the route and why not the others", function()
    local gateway = gateway_of { says("one", "path: /x"), says("two", "path: /y") }

    local code, out = gateway:run("explain", "GET", "http://a.com/x")
    local none = gateway:run("explain", "GET", "http://a.com/z")

    assert.equal(0, code)
    assert.matches("route one", out)
    assert.matches("two", out)
    assert.equal(1, none)
  end)
end)

describe("routes --json", function()
  it("lists them", function()
    local gateway = gateway_of {
      says("one", 'hosts: [ a.com ], path: /x, methods: [ GET ]', ", priority: 7"),
      says("two", 'paths: [ /y, "/z/*" ]', ", enabled: false"),
    }

    local code, out = gateway:run("routes", "--json")
    local list = assert(gw.json.decode(out))

    assert.equal(0, code)
    assert.equal(2, #list)
    assert.equal("one", list[1].name)
    assert.same({ "a.com" }, { unpack(list[1].hosts) })
    assert.same({ "GET" }, { unpack(list[1].methods) })
    assert.equal(7, list[1].priority)
    assert.is_false(list[2].enabled)
    assert.same({ "/y", "/z/*" }, { unpack(list[2].paths) })
  end)
end)
