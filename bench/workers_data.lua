--- What the bench of workers copies: 20 000 records of five fields, and a long string.
local M = {}

M.RECORDS = 20000
-- Of one: the bytes of its keys and strings, 8 for each number, 1 for the boolean.
M.RECORD_BYTES = 64

function M.records()
  local list = {}
  for i = 1, M.RECORDS do
    list[i] = {
      id = i,
      name = ("name %07d"):format(i),
      price = i + 0.25,
      tags = { "red", "green", "blue" },
      available = i % 2 == 0,
    }
  end
  return list
end

M.STRING_BYTES = 16 * 1024 * 1024

function M.text()
  return ("0123456789abcdef"):rep(M.STRING_BYTES // 16)
end

return M
