--- What C gives to the Lua halves of the library through FFI: gw.shared and gw.metrics.
--- Handles hold a box that C owns; it says itself when its dictionary is gone.
local ffi = require "ffi"

ffi.cdef [[
struct gw_h_ctx;
struct gw_script_dict;
struct gw_metrics;

/* For plugins a dictionary is this: nothing in it can be set. */
typedef struct { struct gw_script_dict *const gw_box_; } gw_h_dict;

struct gw_dict_value {
  uint32_t type;
  uint32_t reserved;
  double number;
  char *data;
  size_t len;
  size_t size;
  uint64_t ttl_ms;
};

struct gw_dict_incr { double by; double init; uint64_t init_ttl_ms; double value; };

struct gw_dict_take {
  double rate;
  double burst;
  double cost;
  double remaining;
  double retry_after_s;
  int32_t allowed;
  int32_t reserved;
};

struct gw_dict_hit {
  uint32_t limit;
  uint32_t window_ms;
  uint32_t count;
  uint32_t reset_ms;
  int32_t allowed;
  int32_t reserved;
};

int gw_ffi_dict_get(struct gw_script_dict *box, const char *key, size_t len,
                    struct gw_dict_value *out);
int gw_ffi_dict_set(struct gw_script_dict *box, const char *key, size_t len, int how,
                    const struct gw_dict_value *value);
int gw_ffi_dict_incr(struct gw_script_dict *box, const char *key, size_t len,
                     struct gw_dict_incr *incr);
int gw_ffi_dict_delete(struct gw_script_dict *box, const char *key, size_t len);
int gw_ffi_dict_expire(struct gw_script_dict *box, const char *key, size_t len, double ttl_ms);
int gw_ffi_dict_ttl(struct gw_script_dict *box, const char *key, size_t len, double *ttl_ms);
int gw_ffi_dict_push(struct gw_script_dict *box, const char *key, size_t len, bool left,
                     const struct gw_dict_value *value, uint32_t *count);
int gw_ffi_dict_pop(struct gw_script_dict *box, const char *key, size_t len, bool left,
                    struct gw_dict_value *out);
int gw_ffi_dict_llen(struct gw_script_dict *box, const char *key, size_t len, uint32_t *count);
int gw_ffi_dict_take(struct gw_script_dict *box, const char *key, size_t len,
                     struct gw_dict_take *take);
int gw_ffi_dict_hit(struct gw_script_dict *box, const char *key, size_t len,
                    struct gw_dict_hit *hit);
int gw_ffi_dict_flush(struct gw_script_dict *box);

void gw_metrics_add(struct gw_metrics *metrics, uint32_t slot, double by);
void gw_metrics_set(struct gw_metrics *metrics, uint32_t slot, double value);
void gw_metrics_observe(struct gw_metrics *metrics, uint32_t slot, double value);

struct gw_script_logfile;
typedef struct { struct gw_script_logfile *const gw_box_; } gw_h_logfile;

bool gw_ffi_logfile_write(struct gw_script_logfile *box, const char *line, size_t len);
int gw_ffi_logfile_request(struct gw_script_logfile *box, const struct gw_h_ctx *ctx);
void gw_ffi_logfile_text(struct gw_script_logfile *box, const char *name, size_t name_len,
                         const char *value, size_t len);
void gw_ffi_logfile_number(struct gw_script_logfile *box, const char *name, size_t name_len,
                           double value);
void gw_ffi_logfile_bool(struct gw_script_logfile *box, const char *name, size_t name_len,
                         bool value);
bool gw_ffi_logfile_end(struct gw_script_logfile *box);
double gw_ffi_logfile_lost(struct gw_script_logfile *box);
]]

return ffi
