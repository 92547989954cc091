---@meta
--- What a plugin returns and gets. Put `---@type gw.plugin` above its table.

---@class gw.plugin
---@field name string
---@field priority? number higher runs first
---@field schema? table JSON Schema of its conf
---@field identity_headers? string[] taken off every client's request
---@field body? "buffered" body_filter gets the whole body, and may wait
---@field version? string|number
---@field title? string
---@field description? string
---@field init? fun(conf: table, old: any): any
---@field stop? fun(conf: table, state: any)
---@field rewrite? fun(conf: table, ctx: gw.ctx)
---@field access? fun(conf: table, ctx: gw.ctx)
---@field balancer? fun(conf: table, ctx: gw.ctx)
---@field header_filter? fun(conf: table, ctx: gw.ctx)
---@field body_filter? fun(conf: table, ctx: gw.ctx, chunk: string, last: boolean): string?
---@field log? fun(conf: table, ctx: gw.ctx)
---@field message? fun(conf: table, ctx: gw.ctx, msg: gw.message): string|false|nil, ("text"|"binary")?

--- A whole message of a WebSocket; to change it, return what is to go on instead.
---@class gw.message
---@field from "client"|"upstream"
---@field type "text"|"binary"
---@field data string

---@class gw.ctx
---@field id string
---@field request gw.ctx.request
---@field response gw.ctx.response from header_filter on
---@field upstream gw.ctx.upstream
---@field route gw.ctx.route
---@field state any what init returned
---@field consumer any
---@field tenant any
---@field session any
---@field [string] any what plugins leave for each other
local ctx = {}
--- Answers. A table as body becomes JSON.
---@param status integer
---@param body? string|number|table
---@param headers? table<string, string|number|string[]>
function ctx:exit(status, body, headers) end
--- Answers with RFC 9457 JSON.
---@param status integer
---@param fields? { title?: string, detail?: string, headers?: table<string, string|number|string[]>, [string]: any }
function ctx:problem(status, fields) end
--- In rewrite: matches again, at most three times.
function ctx:reroute() end
--- In message: a Close to both sides of the WebSocket.
---@param code? integer 1000
---@param reason? string
function ctx:close(code, reason) end

---@class gw.ctx.headers: { [string]: string|number|nil }
local headers = {}
---@param name string
---@return string[]
function headers:all(name) end
---@param name string
---@param value string|number
function headers:add(name, value) end
---@return fun(): string?, string?
function headers:each() end

---@class gw.ctx.tls.client
---@field subject string "CN=alice,O=Example"
---@field issuer string
---@field serial string hexadecimal
---@field fingerprint string SHA-256, hexadecimal
---@field names string "DNS:a.example, URI:spiffe://…"
---@field not_before integer seconds since 1970
---@field not_after integer

---@class gw.ctx.tls
---@field version string "TLSv1.3"
---@field cipher string
---@field name string? that the client asked for
---@field resumed boolean
---@field verified boolean the client has shown a good certificate
---@field client gw.ctx.tls.client?

---@class gw.ctx.request
---@field method string
---@field path string normalised
---@field query any query.name; query:all(name), query:each(); set as a whole
---@field body string waits for all of it
---@field headers gw.ctx.headers
---@field scheme string
---@field host string
---@field port integer
---@field authority string
---@field raw_path string
---@field raw_query string?
---@field version number
---@field listener string
---@field client_ip string
---@field client_port integer
---@field peer_ip string
---@field began number
---@field ended number
---@field bytes integer
---@field aborted boolean
---@field tls gw.ctx.tls? nil: the connection is plain

---@class gw.ctx.response
---@field status integer set in header_filter and in a buffered body_filter
---@field headers gw.ctx.headers
---@field body string|number|nil read and set in header_filter and in a buffered body_filter
---@field reason string?
---@field length integer?
---@field bytes integer
---@field error string? why the gateway answered itself
---@field from_gateway boolean

---@class gw.ctx.upstream
---@field name string?
---@field address string?
---@field tries integer
---@field began number
---@field head number
local upstream = {}
--- In balancer: this try goes to that target of the upstream.
---@param place integer from 1
function upstream:set_target(place) end

---@class gw.ctx.route
---@field name string?
---@field params table<string, string>
