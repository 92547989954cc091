--- What C gives to trusted Lua through FFI: all declarations of the runtime stand here.
--- The functions check no handles: that is done in Lua, by the serial, before each call.
local ffi = require "ffi"

ffi.cdef [[
struct gw_str { const char *data; size_t len; };

/* Handles: pointers that point nowhere. The bits are gw_slot.handle, and the type says what to do
 * with it. Compiled code then holds a handle in a register, nothing is allocated for it, and the
 * sandbox can do nothing else with it. */
struct gw_h_ctx;
struct gw_h_request;
struct gw_h_response;
struct gw_h_query;
struct gw_h_upstream;
struct gw_h_route;
struct gw_h_request_headers;
struct gw_h_response_headers;

/* Signed where compiled code compares or counts: it would turn uint32_t into floating point. */
struct gw_slot {
  int32_t serial;
  int32_t in_;
  int32_t verdict;
  uint32_t instance;
  uint32_t position;
  uint16_t reroutes;
  uint16_t refused;
  int32_t kept;
  uint32_t next_free;
  void *exchange;
  void *task;
  void *answer;
  union {
    uint64_t handle;
    struct gw_h_ctx *ctx;
    struct gw_h_request *request;
    struct gw_h_response *response;
    struct gw_h_query *query;
    struct gw_h_upstream *upstream;
    struct gw_h_route *route;
    struct gw_h_request_headers *request_headers;
    struct gw_h_response_headers *response_headers;
  };
};

struct gw_slot *gw_ffi_slots(void);
bool gw_ffi_text(uint32_t slot, int what, struct gw_str *out);
double gw_ffi_number(uint32_t slot, int what);

/* The number of a header's name, in any case of its letters: from 1, good for ever; 0: good for
 * the very next call; -1: no header has such a name. */
int gw_ffi_name(const char *text, size_t len);
bool gw_ffi_header_get(uint32_t slot, int which, int name, struct gw_str *out);
bool gw_ffi_header_nth(uint32_t slot, int which, int name, uint32_t n, struct gw_str *out);
int gw_ffi_header_at(uint32_t slot, int which, uint32_t from, struct gw_str *name,
                     struct gw_str *value);
int gw_ffi_header_set(uint32_t slot, int which, int name, const char *value, size_t len, bool add);
int gw_ffi_header_set_whole(uint32_t slot, int which, int name, double value, bool add);
void gw_ffi_header_remove(uint32_t slot, int which, int name);

int gw_ffi_query_get(uint32_t slot, const char *name, size_t len, uint32_t n, struct gw_str *out);
int gw_ffi_query_at(uint32_t slot, uint32_t n, struct gw_str *name, struct gw_str *value);

int gw_ffi_set_text(uint32_t slot, int what, const char *text, size_t len);
int gw_ffi_set_status(uint32_t slot, uint32_t status);
bool gw_ffi_response_body(uint32_t slot, struct gw_str *out);
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
