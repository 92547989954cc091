local kit = require("gateway.spec")
local native = require("gateway.spec.native")

local CONF = [[
listen: [ { name: public, address: "127.0.0.1:8080" }, { name: inner, address: "127.0.0.1:8081" } ]
plugins: [ correlation-id ]
shared: { limits: 1m }
upstreams:
  backend: { targets: [ 127.0.0.1:9001, { address: 127.0.0.1:9002, weight: 2 } ] }
routes:
  - name: api
    match: { path: "/v1/:id/*", hosts: [ "*.example.com" ], methods: [ GET ] }
    plugins: [ { key-auth: { keys: { demo: k } } }, { rate-limit: { rate: 10/s }, before: [ key-auth ] } ]
    upstream: backend
  - name: wanted
    match: { path: /hello, headers: { x-a: "1" } }
    respond: { status: 200 }
  - name: inner
    match: { path: /hello, listen: [ inner ] }
    redirect: https://elsewhere.example/
  - name: local
    match: { path: /local, client: [ 10.0.0.0/8 ] }
    respond: { status: 204 }
]]

describe("on a conf", function()
  local dir

  setup(function()
    dir = native.folder()
    local file = assert(io.open(dir .. "/gateway.yaml", "w"))
    file:write(CONF)
    file:close()
  end)

  teardown(function() native.remove(dir) end)

  local function run(...)
    local words = { ... }
    table.insert(words, 2, "-c")
    table.insert(words, 3, "gateway.yaml")
    return kit.run(kit.program, words, { cwd = dir })
  end

  describe("moongate explain", function()
    it("names the route, the chain in its order, the upstream, and why others did not match", function()
      local code, out, err = run("explain", "GET", "http://a.example.com/v1/7/x/y")

      assert.equal(0, code)
      assert.equal("", err)
      assert.matches('route "api" matches', out)
      assert.matches('id = "7"', out)
      assert.matches('%* = "x/y"', out)
      local one, two, three = out:find("correlation-id", 1, true), out:find("rate-limit", 1, true),
        out:find("key-auth", 1, true)
      assert.is_true(one < two and two < three, out)
      assert.matches("backend", out)
      assert.matches("127%.0%.0%.1:9002 weight 2", out)
      assert.matches('not "wanted": path ', out)
    end)

    it("says that only the method is wrong, and what is allowed", function()
      local code, out = run("explain", "POST", "http://a.example.com/v1/7/x")

      assert.equal(1, code)
      assert.matches("405", out)
      assert.matches("Allow: GET, HEAD", out)
    end)

    it("says that no route matches, and why each does not", function()
      local code, out = run("explain", "GET", "http://b.test/v1/7/x")

      assert.equal(1, code)
      assert.matches("404", out)
      assert.matches('not "api": host b.test', out)
    end)

    it("takes headers, a listener and a client", function()
      local _, with = run("explain", "-H", "x-a: 1", "GET", "http://b.test/hello")
      local without_code = run("explain", "GET", "http://b.test/hello")
      local _, inner = run("explain", "--listener", "inner", "GET", "http://b.test/hello")
      local _, near = run("explain", "--client", "10.1.2.3", "GET", "http://b.test/local")
      local far_code, far = run("explain", "--client", "192.0.2.1", "GET", "http://b.test/local")

      assert.matches('route "wanted" matches', with)
      assert.equal(1, without_code)
      assert.matches('route "inner" matches', inner)
      assert.matches('route "local" matches', near)
      assert.equal(1, far_code)
      assert.matches('not "local": ', far)
    end)

    it("has the same for programs", function()
      local code, out = run("explain", "--json", "GET", "http://a.example.com/v1/7/x")
      local told = gw.json.decode(out)

      assert.equal(0, code)
      assert.equal("match", told.verdict)
      assert.equal("api", told.route)
      assert.equal("7", told.params.id)
      assert.same({ "correlation-id", "rate-limit", "key-auth" }, told.plugins)
      assert.equal(4, #told.routes)
    end)

    it("wants a URL, and headers with a colon", function()
      for _, words in ipairs { { "GET", "nothing" }, { "GET" }, { "-H", "broken", "GET", "http://a/" },
        { "--client", "nobody", "GET", "http://a/" }, { "--listener", "no", "GET", "http://a/" } } do
        local code, out, err = run("explain", unpack(words))

        assert.equal(2, code, table.concat(words, " "))
        assert.equal("", out)
        assert.matches("moongate explain: ", err)
      end
    end)
  end)

  describe("moongate routes", function()
    it("lists them in the order of the conf", function()
      local code, out = run("routes")

      assert.equal(0, code)
      assert.matches("^ROUTE%s+PRIORITY%s+HOSTS%s+PATHS%s+METHODS%s+PLUGINS%s+TARGET\n"
        .. "api .-\nwanted .-\ninner .-\nlocal .-\n$", out)
      assert.matches("%*%.example%.com", out)
    end)

    it("has the same for programs", function()
      local code, out = run("routes", "--json")
      local routes = gw.json.decode(out)

      assert.equal(0, code)
      assert.equal(4, #routes)
      assert.equal("api", routes[1].name)
      assert.same({ "/v1/:id/*" }, routes[1].paths)
      assert.same({ "GET" }, routes[1].methods)
      assert.equal(7, routes[1].line)
    end)
  end)

  describe("moongate plugins", function()
    it("lists the shipped ones with what they do", function()
      local code, out = run("plugins")

      assert.equal(0, code)
      for _, name in ipairs { "access%-log", "correlation%-id", "headers", "key%-auth", "metrics",
        "rate%-limit" } do
        assert.matches("\n" .. name .. "%s+%d+%s+%S+%.lua%s+%u", out)
      end
    end)

    it("has their schemas for programs", function()
      local code, out = run("plugins", "--json")

      assert.equal(0, code)
      for _, plugin in ipairs(gw.json.decode(out)) do
        assert.is_string(plugin.name)
        assert.is_number(plugin.priority)
        assert.is_string(plugin.doc)
        assert.is_table(plugin.schema)
      end
    end)
  end)

  describe("moongate schema", function()
    local VALIDATE = [[
import json, sys, jsonschema
schema = json.loads(sys.stdin.read())
cls = jsonschema.validators.validator_for(schema)
cls.check_schema(schema)
validator = cls(schema)
for line in open(sys.argv[1]):
    print(len(list(validator.iter_errors(json.loads(line)))))
]]

    it("is a valid JSON Schema that accepts good confs and refuses bad ones", function()
      local code, schema = run("schema")
      local file = assert(io.open(dir .. "/cases", "w"))
      local listen = '"listen":[{"name":"public","address":"127.0.0.1:0"}]'
      local cases = {
        { true, "{" .. listen .. "}" },
        { true, "{" .. listen .. ',"workers":"auto","shared":{"limits":"16m"}}' },
        { true, "{" .. listen .. ',"routes":[{"match":{"path":"/a"},"respond":{"status":204},'
          .. '"plugins":["correlation-id",{"key-auth":{"keys":{"demo":"k"}}}]}]}' },
        { false, "{" .. listen .. ',"rotes":[]}' },
        { false, "{" .. listen .. ',"workers":0}' },
        { false, "{" .. listen .. ',"routes":[{"match":{"path":"/a"},"plugins":[{"key-auth":{"kees":1}}]}]}' },
      }
      for _, case in ipairs(cases) do
        file:write(case[2], "\n")
      end
      file:close()

      local valid, out, err = kit.run("/usr/bin/python3", { "-c", VALIDATE, dir .. "/cases" }, { stdin = schema })

      assert.equal(0, code)
      assert.equal(0, valid, err)
      local i = 0
      for count in out:gmatch("%d+") do
        i = i + 1
        assert.equal(cases[i][1], count == "0", cases[i][2])
      end
      assert.equal(#cases, i)
    end)
  end)
end)
