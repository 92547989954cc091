--- What C gives to trusted Lua through FFI: all declarations of the runtime stand here.
--- The functions check no handles: that is done in Lua, by the serial, before each call.
local ffi = require "ffi"

ffi.cdef [[
struct gw_str { const char *data; size_t len; };

struct gw_slot {
  uint32_t serial;
  uint32_t in_;
  int32_t verdict;
  uint32_t instance;
  uint32_t position;
  uint32_t reroutes;
  uint32_t next_free;
  uint32_t refused;
  void *exchange;
  void *task;
  void *answer;
  uint64_t unused2;
};

/* Handles. Names that no header and no query parameter will have by chance. */
typedef struct { const uint32_t gw_slot_, gw_serial_; } gw_h_request;
typedef struct { const uint32_t gw_slot_, gw_serial_; } gw_h_response;
typedef struct { const uint32_t gw_slot_, gw_serial_; } gw_h_query;
typedef struct { const uint32_t gw_slot_, gw_serial_; } gw_h_upstream;
typedef struct { const uint32_t gw_slot_, gw_serial_, gw_which_; } gw_h_headers;

bool gw_ffi_text(uint32_t slot, int what, struct gw_str *out);
double gw_ffi_number(uint32_t slot, int what);

bool gw_ffi_header_get(uint32_t slot, int which, const char *name, size_t len, struct gw_str *out);
bool gw_ffi_header_nth(uint32_t slot, int which, const char *name, size_t len, uint32_t n,
                       struct gw_str *out);
int gw_ffi_header_at(uint32_t slot, int which, uint32_t from, struct gw_str *name,
                     struct gw_str *value);
int gw_ffi_header_set(uint32_t slot, int which, const char *name, size_t len, const char *value,
                      size_t value_len, bool add);
void gw_ffi_header_remove(uint32_t slot, int which, const char *name, size_t len);

int gw_ffi_query_get(uint32_t slot, const char *name, size_t len, uint32_t n, struct gw_str *out);
int gw_ffi_query_at(uint32_t slot, uint32_t n, struct gw_str *name, struct gw_str *value);

int gw_ffi_set_text(uint32_t slot, int what, const char *text, size_t len);
int gw_ffi_set_status(uint32_t slot, uint32_t status);
int gw_ffi_set_target(uint32_t slot, uint32_t index);
bool gw_ffi_param(uint32_t slot, uint32_t n, struct gw_str *name, struct gw_str *value);

void gw_ffi_answer(uint32_t slot, uint32_t status, const char *body, size_t len);
int gw_ffi_answer_header(uint32_t slot, const char *name, size_t len, const char *value,
                         size_t value_len, bool add);
void gw_ffi_problem(uint32_t slot, uint32_t status, const char *title, size_t title_len,
                    const char *detail, size_t detail_len, const char *more, size_t more_len);
bool gw_ffi_header_valid(const char *name, size_t len, const char *value, size_t value_len);
bool gw_ffi_reroute(uint32_t slot);
]]

return ffi
