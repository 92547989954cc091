--- The meta-schemas of JSON Schema 2020-12: a schema may be held to them by `$ref`, and
--- `$schema` names them.
local BASE = "https://json-schema.org/draft/2020-12/"

local uri = { type = "string", format = "uri" }
local uri_reference = { type = "string", format = "uri-reference" }
local node = { ["$dynamicRef"] = "#meta" }
local nodes = { ["$ref"] = "#/$defs/schemaArray" }
local map = { type = "object", additionalProperties = node, default = {} }
local number = { type = "number" }
local text = { type = "string" }
local flag = { type = "boolean", default = false }
local count = { ["$ref"] = "#/$defs/nonNegativeInteger" }
local count_0 = { ["$ref"] = "#/$defs/nonNegativeIntegerDefault0" }
local strings = { ["$ref"] = "#/$defs/stringArray" }
local array_of_nodes = { type = "array", minItems = 1, items = node }

local function meta(name, title, properties, defs)
  return {
    ["$schema"] = BASE .. "schema", ["$id"] = BASE .. "meta/" .. name,
    ["$dynamicAnchor"] = "meta", title = title, type = { "object", "boolean" },
    properties = properties, ["$defs"] = defs,
  }
end

local documents = {
  ["meta/core"] = meta("core", "Core vocabulary meta-schema", {
    ["$id"] = { ["$ref"] = "#/$defs/uriReferenceString", pattern = "^[^#]*#?$" },
    ["$schema"] = { ["$ref"] = "#/$defs/uriString" },
    ["$ref"] = { ["$ref"] = "#/$defs/uriReferenceString" },
    ["$anchor"] = { ["$ref"] = "#/$defs/anchorString" },
    ["$dynamicRef"] = { ["$ref"] = "#/$defs/uriReferenceString" },
    ["$dynamicAnchor"] = { ["$ref"] = "#/$defs/anchorString" },
    ["$vocabulary"] = {
      type = "object", propertyNames = { ["$ref"] = "#/$defs/uriString" },
      additionalProperties = { type = "boolean" },
    },
    ["$comment"] = text,
    ["$defs"] = { type = "object", additionalProperties = node },
  }, {
    anchorString = { type = "string", pattern = "^[A-Za-z_][-A-Za-z0-9._]*$" },
    uriString = uri,
    uriReferenceString = uri_reference,
  }),
  ["meta/applicator"] = meta("applicator", "Applicator vocabulary meta-schema", {
    prefixItems = nodes, items = node, contains = node, additionalProperties = node,
    properties = map, dependentSchemas = map, propertyNames = node,
    patternProperties = {
      type = "object", additionalProperties = node, propertyNames = { format = "regex" }, default = {},
    },
    ["if"] = node, ["then"] = node, ["else"] = node,
    allOf = nodes, anyOf = nodes, oneOf = nodes, ["not"] = node,
  }, { schemaArray = array_of_nodes }),
  ["meta/unevaluated"] = meta("unevaluated", "Unevaluated applicator vocabulary meta-schema", {
    unevaluatedItems = node, unevaluatedProperties = node,
  }),
  ["meta/validation"] = meta("validation", "Validation vocabulary meta-schema", {
    type = {
      anyOf = {
        { ["$ref"] = "#/$defs/simpleTypes" },
        { type = "array", items = { ["$ref"] = "#/$defs/simpleTypes" }, minItems = 1, uniqueItems = true },
      },
    },
    const = true, enum = { type = "array", items = true },
    multipleOf = { type = "number", exclusiveMinimum = 0 },
    maximum = number, exclusiveMaximum = number, minimum = number, exclusiveMinimum = number,
    maxLength = count, minLength = count_0, pattern = { type = "string", format = "regex" },
    maxItems = count, minItems = count_0, uniqueItems = flag,
    maxContains = count, minContains = { ["$ref"] = "#/$defs/nonNegativeInteger", default = 1 },
    maxProperties = count, minProperties = count_0, required = strings,
    dependentRequired = { type = "object", additionalProperties = strings },
  }, {
    nonNegativeInteger = { type = "integer", minimum = 0 },
    nonNegativeIntegerDefault0 = { ["$ref"] = "#/$defs/nonNegativeInteger", default = 0 },
    simpleTypes = { enum = { "array", "boolean", "integer", "null", "number", "object", "string" } },
    stringArray = { type = "array", items = text, uniqueItems = true, default = {} },
  }),
  ["meta/meta-data"] = meta("meta-data", "Meta-data vocabulary meta-schema", {
    title = text, description = text, default = true, deprecated = flag, readOnly = flag,
    writeOnly = flag, examples = { type = "array", items = true },
  }),
  ["meta/format-annotation"] = meta("format-annotation",
    "Format vocabulary meta-schema for annotation results", { format = text }),
  ["meta/format-assertion"] = meta("format-assertion",
    "Format vocabulary meta-schema for assertion results", { format = text }),
  ["meta/content"] = meta("content", "Content vocabulary meta-schema", {
    contentEncoding = text, contentMediaType = text, contentSchema = node,
  }),
}

local all_of, vocabulary = {}, {}
for _, name in ipairs { "core", "applicator", "unevaluated", "validation", "meta-data",
  "format-annotation", "content" } do
  all_of[#all_of + 1] = { ["$ref"] = "meta/" .. name }
  vocabulary[BASE .. "vocab/" .. name] = true
end

documents.schema = {
  ["$schema"] = BASE .. "schema", ["$id"] = BASE .. "schema", ["$dynamicAnchor"] = "meta",
  ["$vocabulary"] = vocabulary, title = "Core and Validation specifications meta-schema",
  allOf = all_of, type = { "object", "boolean" },
  properties = {
    -- Names of earlier drafts, which schemas may still have.
    definitions = { type = "object", additionalProperties = node, deprecated = true, default = {} },
    dependencies = {
      type = "object", additionalProperties = { anyOf = { node, { ["$ref"] = "meta/validation#/$defs/stringArray" } } },
      deprecated = true, default = {},
    },
    ["$recursiveAnchor"] = { ["$ref"] = "meta/core#/$defs/anchorString", deprecated = true },
    ["$recursiveRef"] = { ["$ref"] = "meta/core#/$defs/uriReferenceString", deprecated = true },
  },
}

--- The document of a URI without fragment, or nil.
return function(wanted)
  if wanted:sub(1, #BASE) == BASE then
    return documents[wanted:sub(#BASE + 1)]
  end
end
