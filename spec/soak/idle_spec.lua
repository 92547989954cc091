local idle = dofile(debug.getinfo(1, "S").source:match("^@(.*)/[^/]+$") .. "/idle.lua")
local kit = require("gateway.spec")

local COUNT = 10000

describe("10,000 idle connections", function()
  for _, row in ipairs { { "tls", 15 }, { "tls 1.2", 15 }, { "h2", 16 }, { "h2 tls", 30 } } do
    local kind, most = unpack(row)
    if not idle.room_for(COUNT) then
      pending(kind .. " (need ulimit -n " .. COUNT + 200 .. ")")
    else
      it(("of %s hold at most %d KiB each, and all still answer"):format(kind, most), function()
        local each = idle.measure(kind, COUNT) / 1024
        io.write(("\n%s: %.1f KiB each\n"):format(kind, each))
        assert.is_true(each <= most or kit.sanitized == true, each .. " KiB each")
      end)
    end
  end
end)
