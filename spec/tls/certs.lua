--- Certificates for specs, made by openssl(1) when a spec starts, in a folder of their own.
local kit = require("gateway.spec")

local M = {}

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function openssl(dir, ...)
  local code, _, err = kit.run("openssl", { ... }, { cwd = dir, timeout = 30 })
  assert(code == 0, err)
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local KEYS = {
  ec = { "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256" },
  rsa = { "-newkey", "rsa:2048" },
}

local function request(dir, name, kind, extra)
  local args = { "req", "-nodes", "-subj", "/CN=" .. name, "-keyout", name .. ".key" }
  for _, list in ipairs { KEYS[kind], extra } do
    for _, word in ipairs(list) do
      args[#args + 1] = word
    end
  end
  openssl(dir, unpack(args))
end

--- An authority: ca.pem and ca.key in `dir`.
local function authority(dir, name)
  request(dir, name, "ec", { "-x509", "-days", "30", "-out", name .. ".pem" })
end

local function extensions(row)
  local san = {}
  for _, dns in ipairs(row.names or {}) do
    san[#san + 1] = (dns:find("^%d+%.%d+%.%d+%.%d+$") and "IP:" or "DNS:") .. dns
  end
  local lines = { "basicConstraints=CA:FALSE" }
  if #san > 0 then
    lines[2] = "subjectAltName=" .. table.concat(san, ",")
  end
  if row.ocsp then
    lines[#lines + 1] = "authorityInfoAccess=OCSP;URI:" .. row.ocsp
  end
  return table.concat(lines, "\n") .. "\n"
end

--- rows: { name = { names = {…}, kind = "ec"|"rsa", ca = "ca", days = 30, ocsp = URL } } -> certs, where
--- certs.pem[name], certs.key[name] are texts and certs.dir is the folder.
function M.make(rows)
  local dir = os.tmpname()
  os.remove(dir)
  assert(kit.run("mkdir", { dir }) == 0)
  local certs = { dir = dir, pem = {}, key = {} }
  for _, name in ipairs { "ca", "other" } do
    authority(dir, name)
    certs.pem[name] = read(dir .. "/" .. name .. ".pem")
  end
  for name, row in pairs(rows) do
    local ca = row.ca or "ca"
    request(dir, name, row.kind or "ec", { "-out", name .. ".csr" })
    write(dir .. "/" .. name .. ".ext", extensions(row))
    openssl(dir, "x509", "-req", "-in", name .. ".csr", "-CA", ca .. ".pem", "-CAkey", ca .. ".key",
      "-CAcreateserial", "-days", tostring(row.days or 30), "-extfile", name .. ".ext", "-out", name .. ".pem")
    certs.pem[name] = read(("%s/%s.pem"):format(dir, name))
    certs.key[name] = read(("%s/%s.key"):format(dir, name))
  end
  return certs
end

--- A revocation list of `ca` that holds these certificates.
function M.revoke(certs, ca, names)
  local conf = ("[ca]\ndefault_ca=d\n[d]\ndatabase=%s/index\ncrlnumber=%s/crlnumber\ndefault_md=sha256\n")
    :format(certs.dir, certs.dir)
  write(certs.dir .. "/ca.cnf", conf)
  write(certs.dir .. "/index", "")
  write(certs.dir .. "/crlnumber", "01\n")
  local common = { "-config", "ca.cnf", "-cert", ca .. ".pem", "-keyfile", ca .. ".key" }
  for _, name in ipairs(names) do
    openssl(certs.dir, "ca", "-revoke", name .. ".pem", unpack(common))
  end
  openssl(certs.dir, "ca", "-gencrl", "-crldays", "30", "-out", "crl.pem", unpack(common))
  return read(certs.dir .. "/crl.pem")
end

--- What a responder would say of a certificate: DER. `status`: "V" good, "R" revoked.
function M.ocsp(certs, ca, name, status, days)
  local _, out = kit.run("openssl", { "x509", "-in", name .. ".pem", "-noout", "-serial" }, { cwd = certs.dir })
  local serial = out:match("serial=(%x+)")
  write(certs.dir .. "/ocsp.index", ("%s\t491231235959Z\t%s\t%s\tunknown\t/CN=%s\n"):format(status,
    status == "R" and "200101000000Z" or "", serial, name))
  openssl(certs.dir, "ocsp", "-index", "ocsp.index", "-CA", ca .. ".pem", "-rsigner", ca .. ".pem", "-rkey",
    ca .. ".key", "-issuer", ca .. ".pem", "-cert", name .. ".pem", "-respout", "ocsp.der", "-ndays",
    tostring(days or 7), "-noverify")
  return read(certs.dir .. "/ocsp.der")
end

function M.remove(certs)
  kit.run("rm", { "-rf", certs.dir })
end

--- Options for kit.gateway: every certificate and key as tls/NAME.pem and tls/NAME.key.
function M.files(certs, ...)
  local files = {}
  for name, text in pairs(certs.pem) do
    files["tls/" .. name .. ".pem"] = text
  end
  for name, text in pairs(certs.key) do
    files["tls/" .. name .. ".key"] = text
  end
  for _, more in pairs { ... } do
    for name, text in pairs(more) do
      files[name] = text
    end
  end
  return files
end

--- `openssl s_client` -> what it says of the connection.
function M.s_client(gw, args, stdin, listener)
  local _, port = gw:address(listener)
  local list = { "s_client", "-connect", "127.0.0.1:" .. port, "-ign_eof" }
  for _, word in ipairs(args) do
    list[#list + 1] = word
  end
  local code, out, err = kit.run("openssl", list, { stdin = stdin or "Q\n", timeout = 15 })
  return out .. err, code
end

--- curl -> body, everything it says.
function M.curl(certs, gw, path, args, listener)
  local _, port = gw:address(listener)
  local list = { "-sS", "--http1.1", "--cacert", certs.dir .. "/ca.pem", "-m", "10", "-w", "\n%{http_code}" }
  local host = "site.example"
  for _, word in ipairs(args or {}) do
    host = word:match("^host=(.*)") or host
    if not word:find("^host=") then
      list[#list + 1] = word
    end
  end
  list[#list + 1] = "--resolve"
  list[#list + 1] = ("%s:%d:127.0.0.1"):format(host, port)
  list[#list + 1] = ("https://%s:%d%s"):format(host, port, path)
  local code, out, err = kit.run("curl", list, { timeout = 20 })
  local body, status = out:match("^(.*)\n(%d+)$")
  return { code = code, body = body, status = tonumber(status), err = err }
end

return M
