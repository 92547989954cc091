/* The rows of gw_libs[]: every binding of the library, in the order of opening.
 *      name        open                    retire               close */
#ifndef GW_SCRIPT_LIB_ROWS_H
#define GW_SCRIPT_LIB_ROWS_H

#include "script/lib.h"

/* `log`, `uuid` and `shared` are userdata (gw_lib_push_object): read-only by themselves. */
#define GW_LIB_ROWS(X)                                                                             \
    X("log", gw_lib_log_open, NULL, NULL)                                                          \
    X("json", gw_lib_json_open, NULL, gw_lib_json_close)                                           \
    X("time", gw_lib_time_open, NULL, NULL)                                                        \
    X("sleep", gw_lib_sleep_open, NULL, NULL)                                                      \
    X("timer", gw_lib_timer_open, gw_lib_timer_retire, gw_lib_timer_close)                         \
    X("uuid", gw_lib_uuid_open, NULL, NULL)                                                        \
    X("instance", gw_lib_instance_open, NULL, NULL)                                                \
    X("env", gw_lib_env_open, NULL, NULL)                                                          \
    X("base64", gw_lib_base64_open, NULL, NULL)                                                    \
    X("hex", gw_lib_hex_open, NULL, NULL)                                                          \
    X("crypto", gw_lib_crypto_open, NULL, gw_lib_crypto_close)                                     \
    X("jwt", gw_lib_jwt_open, NULL, NULL)                                                          \
    X("regex", gw_lib_regex_open, NULL, gw_lib_regex_close)                                        \
    X("shared", gw_lib_shared_open, NULL, gw_lib_shared_close)                                     \
    X("metrics", gw_lib_metrics_open, NULL, gw_lib_metrics_close)                                  \
    X("logfile", gw_lib_logfile_open, gw_lib_logfile_retire, gw_lib_logfile_close)                 \
    X("schema", gw_lib_schema_open, NULL, NULL)                                                    \
    X("http", gw_lib_http_open, NULL, gw_lib_http_close)

void gw_lib_log_open(lua_State *L, struct gw_vm *vm);
void gw_lib_json_open(lua_State *L, struct gw_vm *vm);
void gw_lib_json_close(struct gw_vm *vm);
void gw_lib_time_open(lua_State *L, struct gw_vm *vm);
void gw_lib_sleep_open(lua_State *L, struct gw_vm *vm);
void gw_lib_timer_open(lua_State *L, struct gw_vm *vm);
void gw_lib_timer_retire(struct gw_vm *vm, struct gw_instance *instance);
void gw_lib_timer_close(struct gw_vm *vm);
void gw_lib_uuid_open(lua_State *L, struct gw_vm *vm);
void gw_lib_instance_open(lua_State *L, struct gw_vm *vm);
void gw_lib_env_open(lua_State *L, struct gw_vm *vm);
void gw_lib_base64_open(lua_State *L, struct gw_vm *vm);
void gw_lib_hex_open(lua_State *L, struct gw_vm *vm);
void gw_lib_crypto_open(lua_State *L, struct gw_vm *vm);
void gw_lib_crypto_close(struct gw_vm *vm);
void gw_lib_jwt_open(lua_State *L, struct gw_vm *vm);
/* More of gw.crypto, into the table at the top: keys and certificates; passwords. [-0, +0] */
void gw_lib_crypto_keys(lua_State *L);
void gw_lib_crypto_passwords(lua_State *L);
void gw_lib_regex_open(lua_State *L, struct gw_vm *vm);
void gw_lib_regex_close(struct gw_vm *vm);
void gw_lib_shared_open(lua_State *L, struct gw_vm *vm);
void gw_lib_shared_close(struct gw_vm *vm);
/* Before gw_shared_set_sweep(): handles let go of the dictionaries whose name is gone. */
void gw_lib_shared_sweep(struct gw_vm *vm);
void gw_lib_metrics_open(lua_State *L, struct gw_vm *vm);
void gw_lib_metrics_close(struct gw_vm *vm);
void gw_lib_logfile_open(lua_State *L, struct gw_vm *vm);
void gw_lib_logfile_retire(struct gw_vm *vm, struct gw_instance *instance);
void gw_lib_logfile_close(struct gw_vm *vm);
/* Relative paths of gw.logfile start here: the folder of the conf. */
void gw_lib_logfile_set_dir(struct gw_vm *vm, struct gw_str dir);
void gw_lib_logfile_reopen(struct gw_vm *vm); /* after rotation */
void gw_lib_schema_open(lua_State *L, struct gw_vm *vm);
void gw_lib_http_open(lua_State *L, struct gw_vm *vm);
void gw_lib_http_close(struct gw_vm *vm);

/* Lends gw.http the worker's resolver (the conf's dns_servers); without it gw.http makes one
 * of its own from resolv.conf at the first name. Before the first request, and the resolver
 * outlives the VM. */
struct gw_dns;
bool gw_lib_http_set_dns(struct gw_vm *vm, struct gw_dns *dns);

/* For the bindings. A table of codes by number of enum gw_rc [-0, +1]; and an object that reads
 * as the table or function at the top, which it replaces [-1, +1]. */
void gw_lib_push_codes(lua_State *L);
void gw_lib_push_object(lua_State *L, const char *name, lua_CFunction call);

#endif
