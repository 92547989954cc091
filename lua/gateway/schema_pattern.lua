--- Patterns of JSON Schema are ECMAScript's; PCRE2 has all of it that matters, under other names.

local CATEGORIES = {
  Letter = "L", Cased_Letter = "L&", LC = "L&", Uppercase_Letter = "Lu", Lowercase_Letter = "Ll",
  Titlecase_Letter = "Lt", Modifier_Letter = "Lm", Other_Letter = "Lo",
  Mark = "M", Combining_Mark = "M", Nonspacing_Mark = "Mn", Spacing_Mark = "Mc", Enclosing_Mark = "Me",
  Number = "N", Decimal_Number = "Nd", digit = "Nd", Letter_Number = "Nl", Other_Number = "No",
  Punctuation = "P", punct = "P", Connector_Punctuation = "Pc", Dash_Punctuation = "Pd",
  Open_Punctuation = "Ps", Close_Punctuation = "Pe", Initial_Punctuation = "Pi",
  Final_Punctuation = "Pf", Other_Punctuation = "Po",
  Symbol = "S", Math_Symbol = "Sm", Currency_Symbol = "Sc", Modifier_Symbol = "Sk", Other_Symbol = "So",
  Separator = "Z", Space_Separator = "Zs", Line_Separator = "Zl", Paragraph_Separator = "Zp",
  Other = "C", Control = "Cc", cntrl = "Cc", Format = "Cf", Surrogate = "Cs", Private_Use = "Co",
  Unassigned = "Cn",
}

local function property(kind, name)
  local of, value = name:match("^([%w_]+)=([%w_]+)$")
  if of == "General_Category" or of == "gc" then
    name = value
  elseif of == "Script" or of == "sc" then
    return ("\\%s{sc:%s}"):format(kind, value)
  elseif of == "Script_Extensions" or of == "scx" then
    return ("\\%s{scx:%s}"):format(kind, value)
  end
  return ("\\%s{%s}"):format(kind, CATEGORIES[name] or name)
end

--- White space, which is more than ASCII there; `\d` and `\w` are the same.
local SPACES = "\\t-\\r \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff"

return function(pattern)
  local in_class = false
  -- A piece is a backslash, the character behind it, and what follows up to the next backslash.
  local function brackets(text)
    for bracket in text:gmatch("[%[%]]") do
      in_class = bracket == "["
    end
  end
  brackets(pattern:match("^[^\\]*"))
  return (pattern:gsub("\\(.)([^\\]*)", function(letter, rest)
    local out
    if letter == "p" or letter == "P" then
      local name, behind = rest:match("^{([%w_=]+)}(.*)$")
      out = name and property(letter, name) .. behind
    elseif letter == "s" then
      out = (in_class and SPACES or "[" .. SPACES .. "]") .. rest
    elseif letter == "S" and not in_class then
      out = "[^" .. SPACES .. "]" .. rest
    elseif (letter == "W" or letter == "D") and not in_class then
      -- Outside of a class PCRE2's compiler of matches takes them for ASCII only.
      out = "[\\" .. letter .. "]" .. rest
    end
    brackets(rest)
    return out
  end))
end
