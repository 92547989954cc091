---@meta
--- The library that plugins see as the global `gw`. What the world does wrong comes back as
--- nil, message, code; wrong arguments raise.

---@alias gw.code
---| "timeout" | "closed" | "refused" | "dns" | "protocol" | "limit" | "full" | "exists"
---| "not_found" | "invalid" | "wrong_type" | "unsupported" | "nomem"

---@class gw
---@field log gw.log
---@field json gw.json
---@field schema gw.schema
---@field shared table<string, gw.dict> dictionaries of the conf's shared: by name
---@field time gw.time
---@field timer gw.timer
---@field http gw.http
---@field uuid gw.uuid
---@field base64 gw.base64
---@field hex gw.hex
---@field crypto gw.crypto
---@field jwt gw.jwt
---@field regex gw.regex
---@field metrics gw.metrics
---@field logfile gw.logfile
gw = {}

--- Waits. Only in: rewrite, access, balancer, log, timers, specs.
---@param seconds number 0 to 86400
function gw.sleep(seconds) end

--- A variable of the environment that the gateway was started with.
---@param name string
---@return string?
function gw.env(name) end

---@class gw.log
---@overload fun(...: any)
local log = {}
--- A format where the first value has a % and more follow, else values joined by spaces.
---@param ... any
function log.debug(...) end
---@param ... any
function log.info(...) end
---@param ... any
function log.warn(...) end
---@param ... any
function log.error(...) end

---@class gw.json
---@field null lightuserdata
local json = {}
---@param text string
---@param options? { depth?: integer, size?: integer, duplicates?: "last"|"refuse" }
---@return any value
---@return string? err "json: line:column: what"
---@return gw.code? code
function json.decode(text, options) end
--- A table whose keys are 1..n is an array, every other one (the empty one too) an object.
---@param value any
---@param options? { depth?: integer, size?: integer }
---@return string? text
---@return string? err
---@return gw.code? code
function json.encode(value, options) end
--- Marks a table as array, also when it is empty.
---@param t? table
---@return table t
function json.array(t) end
---@param value any
---@return boolean
function json.is_array(value) end

---@class gw.schema
local schema = {}

---@class gw.schema.fault
---@field instance string JSON pointer to the value
---@field keyword string URI with a JSON pointer to the keyword
---@field message string

---@class gw.schema.options
---@field schemas? table<string, table|boolean> documents by URI; nothing is fetched
---@field base? string URI of the schema
---@field formats? boolean hold values to `format`
---@field depth? integer 128
---@field errors? integer 20

--- JSON Schema 2020-12. Raises for a bad schema.
---@param document table|boolean
---@param options? gw.schema.options
---@return fun(value: any): boolean?, gw.schema.fault[]?, gw.code? validate true, or nil, faults, "invalid"|"limit"
function schema.compile(document, options) end

---@class gw.dict
local dict = {}
---@param key string
---@return string|number|boolean|nil value
---@return gw.code? err
---@return gw.code? code
function dict:get(key) end
---@param key string
---@param value string|number|boolean|nil nil removes
---@param ttl? number seconds
---@return boolean? ok
---@return gw.code? err
---@return gw.code? code
function dict:set(key, value, ttl) end
---@param key string
---@param value string|number|boolean
---@param ttl? number
---@return boolean? ok
---@return gw.code? err "exists", "full"
---@return gw.code? code
function dict:add(key, value, ttl) end
---@param key string
---@param value string|number|boolean
---@param ttl? number
---@return boolean? ok
---@return gw.code? err "not_found", "full"
---@return gw.code? code
function dict:replace(key, value, ttl) end
---@param key string
---@param by? number 1
---@param init? number
---@param init_ttl? number
---@return number? value
---@return gw.code? err
---@return gw.code? code
function dict:incr(key, by, init, init_ttl) end
---@param key string
---@return boolean? was_there
function dict:delete(key) end
---@param key string
---@param ttl? number
---@return boolean? ok
---@return gw.code? err
---@return gw.code? code
function dict:expire(key, ttl) end
---@param key string
---@return number? seconds 0: for ever
---@return gw.code? err
---@return gw.code? code
function dict:ttl(key) end
---@param max? integer 1024; 0: all
---@return string[]? keys
function dict:keys(max) end
---@param key string
---@param value string|number|boolean
---@return integer? length
---@return gw.code? err
---@return gw.code? code
function dict:lpush(key, value) end
---@param key string
---@param value string|number|boolean
---@return integer? length
---@return gw.code? err
---@return gw.code? code
function dict:rpush(key, value) end
---@param key string
---@return string|number|boolean|nil
function dict:lpop(key) end
---@param key string
---@return string|number|boolean|nil
function dict:rpop(key) end
---@param key string
---@return integer? length
function dict:llen(key) end
--- Token bucket.
---@param key string
---@param rate number tokens a second
---@param burst number
---@param cost? number 1
---@return boolean? allowed
---@return number|gw.code remaining
---@return number|gw.code retry_after seconds
function dict:take(key, rate, burst, cost) end
--- Sliding window, exact.
---@param key string
---@param limit integer
---@param window number seconds
---@return boolean? allowed
---@return integer|gw.code count
---@return number|gw.code reset seconds
function dict:hit(key, limit, window) end
---@return boolean? ok
function dict:flush() end

---@class gw.time
local time = {}
--- Seconds since 1970, read once a turn of the loop.
---@return number
function time.now() end
---@return number seconds that never go back
function time.monotonic() end
---@return number milliseconds since 1970, read now
function time.real() end
---@param seconds number
---@return string
function time.http(seconds) end
---@param text string
---@return number? seconds
---@return string? err
---@return gw.code? code
function time.parse_http(text) end
---@param seconds number
---@return string
function time.rfc3339(seconds) end
---@param text string
---@return number? seconds
---@return string? err
---@return gw.code? code
function time.parse_rfc3339(text) end

---@class gw.timer.handle
local handle = {}
---@return boolean still_waited
function handle:cancel() end

---@class gw.timer
local timer = {}
---@param delay number|{ seconds: number, jitter?: number }
---@param fn fun(...)
---@param ... any
---@return gw.timer.handle? handle
---@return string? err
---@return gw.code? code
function timer.after(delay, fn, ...) end
--- From beginning to beginning; a run that is not over makes the next one wait its turn out.
---@param delay number|{ seconds: number, jitter?: number }
---@param fn fun(...)
---@param ... any
---@return gw.timer.handle? handle
---@return string? err
---@return gw.code? code
function timer.every(delay, fn, ...) end

---@class gw.http.headers: { [string]: string }
local headers = {}
---@param name string
---@return string[]
function headers:all(name) end

---@class gw.http.response
---@field status integer
---@field headers gw.http.headers any case; repeated ones joined
---@field body string

---@class gw.http.options
---@field url? string
---@field method? string "GET"
---@field headers? table<string, string|number|string[]>
---@field body? string
---@field timeout? number seconds for all of it; 5
---@field max_body? integer bytes; 1 MiB
---@field keep_alive? boolean true

---@class gw.http
local http = {}
---@param url string|gw.http.options
---@param options? gw.http.options
---@return gw.http.response? response
---@return string? err
---@return gw.code? code
function http.request(url, options) end
---@param url string
---@param options? gw.http.options
---@return gw.http.response? response
---@return string? err
---@return gw.code? code
function http.get(url, options) end
---@param url string
---@param body string
---@param options? gw.http.options
---@return gw.http.response? response
---@return string? err
---@return gw.code? code
function http.post(url, body, options) end

---@class gw.uuid
---@overload fun(): string
local uuid = {}
---@return string
function uuid.v4() end
---@return string ordered by time
function uuid.v7() end

---@class gw.base64
local base64 = {}
---@param data string
---@return string
function base64.encode(data) end
---@param text string
---@return string? data
---@return string? err
---@return gw.code? code
function base64.decode(text) end
---@param data string
---@return string without padding
function base64.encode_url(data) end
---@param text string
---@return string? data
---@return string? err
---@return gw.code? code
function base64.decode_url(text) end

---@class gw.hex
local hex = {}
---@param data string
---@return string
function hex.encode(data) end
---@param text string
---@return string? data
---@return string? err
---@return gw.code? code
function hex.decode(text) end

---@class gw.crypto
local crypto = {}
---@param data string
---@param form? "hex"|"raw"
---@return string
function crypto.md5(data, form) end
---@param data string
---@param form? "hex"|"raw"
---@return string
function crypto.sha1(data, form) end
---@param data string
---@param form? "hex"|"raw"
---@return string
function crypto.sha256(data, form) end
---@param data string
---@param form? "hex"|"raw"
---@return string
function crypto.sha384(data, form) end
---@param data string
---@param form? "hex"|"raw"
---@return string
function crypto.sha512(data, form) end
---@param data string
---@param form? "hex"|"raw"
---@return string
function crypto.sha3_256(data, form) end
---@param data string
---@param form? "hex"|"raw"
---@return string
function crypto.sha3_384(data, form) end
---@param data string
---@param form? "hex"|"raw"
---@return string
function crypto.sha3_512(data, form) end
--- As Ethereum and TRON have it: not SHA3-256.
---@param data string
---@param form? "hex"|"raw"
---@return string
function crypto.keccak256(data, form) end
---@param algorithm "md5"|"sha1"|"sha256"|"sha384"|"sha512"|"sha3_256"|"sha3_384"|"sha3_512"
---@param key string
---@param data string
---@param form? "hex"|"raw"
---@return string
function crypto.hmac(algorithm, key, data, form) end
--- In constant time for equal lengths.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end
---@param n integer 0 to 65536
---@return string bytes
function crypto.random(n) end

---@alias gw.cipher "aes-128-gcm"|"aes-192-gcm"|"aes-256-gcm"|"chacha20-poly1305"
---@alias gw.jwa
---| "HS256" | "HS384" | "HS512" | "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512"
---| "ES256" | "ES384" | "ES512" | "ES256K" | "EdDSA"

--- Seals a text: who has the key can read it, and nobody can change it.
---@param cipher gw.cipher
---@param key string 16, 24 or 32 bytes, as the cipher wants
---@param nonce string 12 bytes; never twice under one key: gw.crypto.random(12)
---@param text string
---@param aad? string proven too, but not in the result
---@return string? sealed with a tag of 16 bytes at its end
---@return string? err
---@return gw.code? code
function crypto.encrypt(cipher, key, nonce, text, aad) end
---@param cipher gw.cipher
---@param key string
---@param nonce string
---@param sealed string
---@param aad? string
---@return string? text
---@return string? err
---@return gw.code? code "invalid": another key, or it was changed
function crypto.decrypt(cipher, key, nonce, sealed, aad) end

---@class gw.crypto.key
---@field type "rsa"|"ec"|"ed25519"|"secret"
---@field curve? "P-256"|"P-384"|"P-521"|"secp256k1"
---@field bits integer
---@field private boolean
local key = {}
--- With the digest that the algorithm names. ECDSA: "raw" is what JWS has, "der" what X.509 has.
---@param algorithm gw.jwa
---@param data string
---@param form? "raw"|"der"
---@return string? signature
---@return string? err
---@return gw.code? code "wrong_type": not an algorithm of this key; "limit": a secret that is too short
function key:sign(algorithm, data, form) end
---@param algorithm gw.jwa
---@param data string
---@param signature string
---@param form? "raw"|"der"
---@return true?
---@return string? err
---@return gw.code? code "invalid": this key did not sign this
function key:verify(algorithm, data, signature, form) end
---@param algorithm gw.jwa
---@return true?
---@return string? err
---@return gw.code? code
function key:fits(algorithm) end
--- The public half as a table of RFC 7517.
---@return table<string, string>?
---@return string? err
---@return gw.code? code
function key:jwk() end
---@param half? "public"|"private"
---@return string?
---@return string? err
---@return gw.code? code
function key:pem(half) end

--- RSA of 2048 to 8192 bits, the curves above, Ed25519; from PEM or DER (also of a certificate) or a
--- JWK as text or table. Weak ones are refused; so are those that are locked by a password.
---@param source string|table<string, any>
---@return gw.crypto.key?
---@return string? err
---@return gw.code? code
function crypto.key(source) end
---@param bytes string
---@return gw.crypto.key?
---@return string? err
---@return gw.code? code
function crypto.secret(bytes) end
---@param kind "P-256"|"P-384"|"P-521"|"secp256k1"|"Ed25519"
---@return gw.crypto.key?
---@return string? err
---@return gw.code? code
function crypto.generate_key(kind) end

--- Who signed: the public key from a signature of secp256k1, as Ethereum and TRON use it. An address is
--- the last 20 bytes of keccak256(key:sub(2)).
---@param digest string 32 bytes
---@param signature string 64 bytes: r, s
---@param id integer 0 to 3: what Ethereum calls v, less 27
---@return string? key 65 bytes: 4, x, y
---@return string? err
---@return gw.code? code "invalid"; "unsupported": libsecp256k1 is not installed
function crypto.recover(digest, signature, id) end

---@class gw.crypto.certificate
---@field subject string RFC 2253
---@field issuer string
---@field serial string hex
---@field der string
---@field fingerprint string SHA-256 of der, hex
---@field not_before integer seconds since 1970
---@field not_after integer
---@field ca boolean
---@field dns string[]
---@field email string[]
---@field uri string[]
---@field ip string[]
---@field key? gw.crypto.key

--- Reads one; says nothing about who signed it.
---@param source string PEM (the first in it) or DER
---@return gw.crypto.certificate?
---@return string? err
---@return gw.code? code
function crypto.certificate(source) end

--- On a helper thread; waits, so only in: rewrite, access, balancer, log, timers, specs.
---@param digest "sha1"|"sha256"|"sha384"|"sha512"
---@param password string
---@param salt string
---@param rounds integer 1 to 10000000
---@param length? integer 32
---@return string? bytes
---@return string? err
---@return gw.code? code "full": too many wait
function crypto.pbkdf2(digest, password, salt, rounds, length) end
--- On a helper thread; waits. 128 * n * r is at most 64 MiB.
---@param password string
---@param salt string
---@param cost? { n?: integer, r?: integer, p?: integer, length?: integer } 16384, 8, 1, 32
---@return string? bytes
---@return string? err
---@return gw.code? code
function crypto.scrypt(password, salt, cost) end
--- On a helper thread; waits.
---@param password string at most 72 bytes: bcrypt would ignore the rest
---@param cost? integer 4 to 15; 12
---@return string? hash
---@return string? err
---@return gw.code? code
function crypto.bcrypt(password, cost) end
--- On a helper thread; waits.
---@param password string
---@param hash string $2a$, $2b$ or $2y$
---@return boolean?
---@return string? err
---@return gw.code? code "invalid": not a hash of bcrypt
function crypto.bcrypt_verify(password, hash) end

---@class gw.regex flags: letters of i m s x u a
---@class gw.regex flags: letters of i m s x u a, and e: as ECMAScript has it
local regex = {}
---@param subject string
---@param pattern string
---@param flags? string
---@param from? integer
---@return table<integer|string, string|false>? captures [0] is the whole match
---@return string? err
---@return gw.code? code
function regex.match(subject, pattern, flags, from) end
---@param subject string
---@param pattern string
---@param flags? string
---@param from? integer
---@return integer? first
---@return integer|string|nil last
---@return gw.code? code
function regex.find(subject, pattern, flags, from) end
---@param subject string
---@param pattern string
---@param replacement string|fun(captures: table): string|number|nil|false $1 ${name} $$
---@param flags? string
---@return string? text
---@return integer|string count
---@return gw.code? code
function regex.gsub(subject, pattern, replacement, flags) end

---@class gw.counter
local counter = {}
---@param by? number 1
---@param ... string|number|boolean label values
function counter:inc(by, ...) end

---@class gw.gauge
local gauge = {}
---@param by? number 1
---@param ... string|number|boolean
function gauge:inc(by, ...) end
---@param value number
---@param ... string|number|boolean
function gauge:set(value, ...) end

---@class gw.histogram
local histogram = {}
---@param value number
---@param ... string|number|boolean
function histogram:observe(value, ...) end

---@class gw.metrics
local metrics = {}
---@param name string
---@param help string
---@param labels? string[]
---@return gw.counter? counter
---@return string? err
---@return gw.code? code
function metrics.counter(name, help, labels) end
---@param name string
---@param help string
---@param labels? string[]
---@param options? { sum?: boolean } the sum of the workers' own values
---@return gw.gauge? gauge
---@return string? err
---@return gw.code? code
function metrics.gauge(name, help, labels, options) end
---@param name string
---@param help string
---@param labels? string[]
---@param buckets? number[] upper bounds, rising
---@return gw.histogram? histogram
---@return string? err
---@return gw.code? code
function metrics.histogram(name, help, labels, buckets) end
---@return string? text for Prometheus
---@return string? err
---@return gw.code? code
function metrics.render() end

---@class gw.logfile.writer
local writer = {}
--- Never waits. False: the buffer is full, the line is dropped and counted.
---@param line string without its end; an end of line within it becomes a space
---@return boolean kept
function writer:write(line) end
--- A JSON object: the facts and headers of open(), then the values under the names of `more`.
---@param ctx table in log
---@param ... string|number|boolean|nil up to 3
---@return boolean kept
function writer:request(ctx, ...) end
---@return integer lines that this worker has lost
function writer:lost() end

---@class gw.logfile.options
---@field buffer? integer bytes not yet written, 65536 to 268435456; 1 MiB
---@field counter? string a metric of lost lines
---@field request? string[] facts: time id client method host path status grpc_status bytes_in bytes_out duration_ms upstream upstream_ms tries route error aborted user_agent referer
---@field headers? table<string, boolean> request headers; true: only that it was there is written
---@field more? string[] up to 3 names for the values that request() is given

---@class gw.logfile only in init
local logfile = {}
---@param path string "stderr", "stdout" or a file, relative to the conf's folder
---@param options? gw.logfile.options
---@return gw.logfile.writer? writer
---@return string? err path and reason
---@return gw.code? code
function logfile.open(path, options) end

--- JSON Web Tokens. The algorithm belongs to the key: where a key does not name one it is ES256, ES384,
--- ES512, ES256K, EdDSA by its curve, RS256 for RSA, HS256 for a secret, or what `alg` says. What a
--- token asks for is only compared. Messages begin with "jwt: "; most codes are "invalid".
---@class gw.jwt
local jwt = {}

---@class gw.jwt.verify_options
---@field issuer? string|string[] iss must be there and one of them
---@field audience? string|string[]|false aud must name one of them; false: aud is not looked at. With nothing a token that has an aud is refused (RFC 7519, 4.1.3)
---@field subject? string|string[]
---@field required? string[] claims that must be there: { "exp" }
---@field typ? string typ of the header: "at+jwt"
---@field leeway? number seconds, up to 3600; 0
---@field max_age? number seconds since iat, which then must be there
---@field now? number seconds since 1970

---@class gw.jwt.keys
local jwt_keys = {}
--- Signature and claims. That a signature was good is remembered; claims are looked at every time.
--- Waits where the keys are those of gw.jwt.remote and not there yet.
---@param token string at most 16 KiB
---@param options? gw.jwt.verify_options
---@return table<string, any>? claims the caller's own
---@return table<string, any>|string header, or what is wrong
---@return gw.code? code
function jwt_keys:verify(token, options) end

--- PEM, JWK or JWKS (text or table), a key of gw.crypto, or a secret (then alg is one of HS).
---@param source string|table|gw.crypto.key
---@param options? { alg?: gw.jwa, cache?: integer } tokens that are remembered: 2000; 0: none
---@return gw.jwt.keys?
---@return string? err
---@return gw.code? code
function jwt.keys(source, options) end

---@class gw.jwt.remote_options
---@field alg? gw.jwa of keys that name none
---@field cache? integer tokens that are remembered; 2000
---@field timeout? number seconds for one fetch; 5
---@field retry? number seconds without another try after one that failed; 10
---@field miss? number seconds between two fetches for a kid that is not there; 30
---@field stale? number seconds that old keys serve while new ones do not come; 3600
---@field age_min? number bounds of Cache-Control: max-age (600 without one); 30
---@field age_max? number 86400

--- Keys that are published at an URL: fetched at the first use, once for all who wait, and again as
--- Cache-Control says or when a token names a kid that is not among them.
---@param url string
---@param options? gw.jwt.remote_options
---@return gw.jwt.keys
function jwt.remote(url, options) end

---@param token string
---@param keys gw.jwt.keys
---@param options? gw.jwt.verify_options
---@return table<string, any>? claims
---@return table<string, any>|string header, or what is wrong
---@return gw.code? code
function jwt.verify(token, keys, options) end

--- For payloads that are no claims (RFC 7515).
---@param token string
---@param keys gw.jwt.keys
---@return string? payload
---@return table<string, any>|string header, or what is wrong
---@return gw.code? code
function jwt.verify_bytes(token, keys) end

--- Claims and header that anybody may have written: to find out whose keys to ask.
---@param token string
---@return table<string, any>? claims
---@return table<string, any>|string header, or what is wrong
---@return gw.code? code
function jwt.read_unverified(token) end

--- expires_in sets iat and exp where the claims have none.
---@param claims table<string, any>
---@param signer gw.crypto.key|gw.jwt.keys a set of one key
---@param options? { alg?: gw.jwa, kid?: string, typ?: string, header?: table<string, any>, expires_in?: number }
---@return string? token
---@return string? err
---@return gw.code? code
function jwt.sign(claims, signer, options) end
