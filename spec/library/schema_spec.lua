--- gw.schema: what it says about values and about schemas. The official cases are in
--- schema_vectors_spec.lua.
local compile = gw.schema.compile

local function faults(schema, value, options)
  local ok, found, code = compile(schema, options)(value)
  assert.is_nil(ok)
  local out = {}
  for i, fault in ipairs(found) do
    out[i] = ("%s %s %s"):format(fault.instance, fault.keyword, fault.message)
  end
  return out, code
end

local function refused(schema, options)
  local ok, err = pcall(function()
    local validate = compile(schema, options)
    return validate
  end)
  assert.is_false(ok)
  return err
end

describe("gw.schema.compile", function()
  it("makes a validator that returns true", function()
    local validate = compile {
      type = "object", required = { "id" },
      properties = { id = { type = "integer" }, tags = { type = "array", items = { type = "string" } } },
    }

    assert.is_true(validate { id = 5, tags = { "a", "b" } })
    assert.is_true(validate { id = 5, tags = gw.json.array {} })
  end)

  it("names the place in the value, the place in the schema, and what is wrong", function()
    local out, code = faults({
      required = { "c" }, additionalProperties = false,
      properties = { a = { type = "string" }, ["x/y"] = { items = { minimum = 3 } } },
    }, { a = 1, ["x/y"] = { 3, 2 }, other = true })

    assert.same({
      ' #/required "c" is missing',
      "/a #/properties/a/type must be a string, not a number",
      "/x~1y/1 #/properties/x~1y/items/minimum must be at least 3",
      "/other #/additionalProperties there is no such member",
    }, out)
    assert.equal("invalid", code)
  end)

  it("says behind a reference where the keyword stands itself", function()
    local out = faults({ ["$ref"] = "#/$defs/port", ["$defs"] = { port = { maximum = 65535 } } }, 70000)

    assert.same({ " #/$defs/port/maximum must be at most 65535" }, out)
  end)

  it("tells of all branches where none fits, and of none where one does", function()
    local schema = { anyOf = { { type = "string" }, { type = "integer", minimum = 5 } } }

    assert.same({
      " #/anyOf/0/type must be a string, not a number",
      " #/anyOf/1/minimum must be at least 5",
      " #/anyOf must fit at least one of 2 schemas",
    }, (faults(schema, 1)))
    assert.same({ " #/type must be a string, not a number" },
      (faults({ type = "string", anyOf = { { type = "string" }, { minimum = 5 } } }, 7)))
    assert.same({ " #/oneOf must fit exactly one of 2 schemas, and fits 2" },
      (faults({ oneOf = { true, true } }, 1)))
  end)

  it("takes only what gw.json marks, or what has items, for an array", function()
    local array, object = compile { type = "array" }, compile { type = "object" }

    assert.is_true(array(gw.json.decode "[]"))
    assert.is_true(array { 1 })
    assert.is_true(object {})
    assert.is_nil(array {})
    assert.is_nil(object(gw.json.array {}))
    assert.is_true(compile { type = "null" }(gw.json.null))
  end)

  it("compares decimals as they were written", function()
    assert.is_true(compile { multipleOf = 0.01 }(19.99))
    assert.is_true(compile { multipleOf = 0.1 }(0.3))
    assert.is_nil(compile { multipleOf = 0.01 }(19.999))
    assert.is_nil(compile { multipleOf = 2 }(9007199254740991))
  end)

  it("keeps its own copy of the schema", function()
    local schema = { const = { a = { 1 } } }
    local validate = compile(schema)

    schema.const.a[1] = 2

    assert.is_true(validate { a = { 1 } })
    assert.is_nil(validate { a = { 2 } })
  end)

  it("reads patterns as ECMAScript does", function()
    assert.is_true(compile { pattern = "^\\p{Letter}+$" } "Grüße")
    assert.is_nil(compile { pattern = "^a$" } "a\n")
    assert.is_true(compile { pattern = "^\\u00e4\\s$" } "ä\194\160")
    assert.is_true(compile { pattern = "^\\W[^\\w]$" } "äö")
    assert.is_true(compile { pattern = "b" } "abc")
  end)

  it("asserts formats only when it is asked to", function()
    assert.is_true(compile { format = "ipv4" } "300.1.1.1")
    assert.is_nil(compile({ format = "ipv4" }, { formats = true }) "300.1.1.1")
    assert.is_true(compile({ format = "date-time" }, { formats = true }) "2024-02-29T10:00:00Z")
    assert.is_true(compile({ format = "of-our-own" }, { formats = true }) "anything")
  end)

  it("finds references to other documents in the given table only", function()
    local schema = { ["$ref"] = "https://example.com/name.json#/$defs/short" }
    local name = { ["$defs"] = { short = { maxLength = 2 } } }

    local validate = compile(schema, { schemas = { ["https://example.com/name.json"] = name } })

    assert.is_true(validate "ab")
    assert.is_nil(validate "abc")
    assert.matches("never fetched", refused(schema))
  end)

  it("holds schemas to the meta-schema without any table", function()
    local validate = compile { ["$ref"] = "https://json-schema.org/draft/2020-12/schema" }

    assert.is_true(validate { type = "string", properties = { a = { minLength = 1 } } })
    assert.is_nil(validate { properties = { a = { minLength = -1 } } })
  end)
end)

describe("a bad schema", function()
  it("raises in the line that compiles it", function()
    local err = refused { properties = { a = { type = "strin" } } }

    assert.matches("schema_spec%.lua:%d+: schema: #/properties/a/type: \"strin\" is no type", err)
  end)

  it("is refused for what each keyword holds", function()
    local rows = {
      { { minLength = -1 }, "#/minLength: an integer" }, { { minLength = "1" }, "#/minLength: an integer" },
      { { items = { { type = "string" } } }, "#/items: a schema must be" },
      { { required = "a" }, "#/required: a list" }, { { enum = "a" }, "#/enum: a list" },
      { { properties = { 1 } }, "#/properties: a map" }, { { multipleOf = 0 }, "#/multipleOf: a number above 0" },
      { { pattern = "a(" }, "#/pattern: regex: at byte 2" }, { { allOf = { 1 } }, "#/allOf/0: a schema" },
      { { patternProperties = { ["("] = true } }, "missing closing" },
      { { ["$ref"] = "#/$defs/a" }, 'there is no "#/$defs/a"' }, { { ["$ref"] = "#a" }, 'there is no "#a"' },
      { { ["$id"] = "a#b" }, "#/$id: a URI without fragment" },
      { { ["$defs"] = { { ["$anchor"] = "a" } } }, "#/$defs: a map" },
      { { ["$defs"] = { a = { ["$anchor"] = "x" }, b = { ["$anchor"] = "x" } } }, "is there twice" },
      { { ["$schema"] = "http://json-schema.org/draft-07/schema#" }, "is not known: only draft 2020-12 is" },
      { { default = print }, "a function is not possible" }, { { [1.5] = 1 }, "a key must be a text" },
      { { maximum = 0 / 0 }, "not a number" },
    }

    for _, row in ipairs(rows) do
      local err = refused(row[1])
      assert(err:find(row[2], 1, true), err .. "\n does not say " .. row[2])
    end
  end)

  it("may not contain itself, nor be without end", function()
    local round, many = {}, {}
    round.properties = { a = round }
    for i = 1, 20001 do
      many[i] = {}
    end

    assert.matches("contains itself", refused(round))
    assert.matches("more than 20000 schemas", refused { allOf = many })
  end)

  it("is told from a wrong option", function()
    assert.matches('schema_spec%.lua:%d+: schema.compile: unknown option "dept"', refused({}, { dept = 1 }))
    assert.matches("option depth: a number from 1 to 1000", refused({}, { depth = 1001 }))
    assert.matches("table or boolean expected, got string", refused "x")
    assert.matches("table expected, got number", refused({}, 1))
  end)
end)

describe("limits of gw.schema", function()
  it("end what is nested too deeply, also inside of not", function()
    local value = {}
    value[1] = value

    for _, schema in ipairs { { items = { ["$ref"] = "#" } }, { ["$ref"] = "#" },
      { ["not"] = { ["$ref"] = "#" } }, { uniqueItems = true } } do
      local out, code = faults(schema, schema.uniqueItems and { value, 1 } or value)
      assert.matches("nested too deeply", out[1])
      assert.equal("limit", code)
    end
    local deep = compile({ items = { ["$ref"] = "#" } }, { depth = 3 })
    assert.is_true(deep { { 1 } })
    assert.is_nil(deep { { { 1 } } })
  end)

  it("end a pattern that backtracks without end, also inside of not", function()
    for _, schema in ipairs { { pattern = "^(a+)+$" }, { ["not"] = { pattern = "^(a+)+$" } } } do
      local out, code = faults(schema, ("a"):rep(40) .. "b")
      assert.matches("too many steps", out[1])
      assert.equal("limit", code)
    end
  end)

  it("keep the faults few", function()
    local value = {}
    for i = 1, 100 do
      value[i] = i
    end

    assert.equal(20, #faults({ items = { type = "string" } }, value))
    assert.equal(3, #faults({ items = { type = "string" } }, value, { errors = 3 }))
  end)

  it("let long arrays be unique in less than quadratic time", function()
    local value = {}
    for i = 1, 20000 do
      value[i] = { id = i, tags = { i } }
    end
    local validate = compile { uniqueItems = true }
    local begun = os.clock()

    assert.is_true(validate(value))
    value[#value + 1] = { tags = { 7 }, id = 7 }
    assert.is_nil(validate(value))

    assert.is_true(os.clock() - begun < 2)
  end)

  it("let a schema have thousands of properties", function()
    local schema, value = { properties = {}, required = {}, additionalProperties = false }, {}
    for i = 1, 3000 do
      local name = ("name%04d"):format(i)
      schema.properties[name], schema.required[i], value[name] = { type = "string" }, name, "x"
    end
    local validate = compile(schema)

    assert.is_true(validate(value))
    value.name1234 = 1
    local _, found = validate(value)
    assert.equal("/name1234", found[1].instance)
    value.name1234 = nil
    _, found = validate(value)
    assert.equal("name1234 is missing", found[1].message)
  end)
end)

describe("gw.schema after a broken validation", function()
  it("is as good as before", function()
    local validate = compile { properties = { a = { type = "string" } } }
    local trap = setmetatable({}, { __index = function()
      error("a trap")
    end })

    assert.is_false(pcall(validate, trap))

    assert.is_true(validate { a = "x" })
    assert.is_nil(validate { a = 1 })
  end)
end)
