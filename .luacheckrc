-- What `make lint` asks of the Lua code.
std = "luajit"
read_globals = { "gw" }
max_line_length = 120
max_cyclomatic_complexity = 12
cache = ".cache/luacheck"
codes = true

files["spec"] = { std = "luajit+busted" }
-- The built-in half of the library makes the sandbox: it changes the metatable of strings.
files["lua/gateway/sandbox.lua"] = { globals = { "string" } }
-- Stubs for editors: names without bodies.
files["lua/gateway/types"] = { globals = { "gw" }, ignore = { "211", "212", "241", "631" } }
