#include "script/embed.h"

#include <stddef.h>

/* The build says where the lua/ folder stands, and its bytecode (absolute): only the assembler
 * reads them. */
#if !defined(GW_LUA_DIR) || !defined(GW_BYTECODE_DIR)
#error "GW_LUA_DIR and GW_BYTECODE_DIR must name the lua folder of the sources and its bytecode"
#endif

#define GW_EMBED_FILE(symbol, file)                                                                \
    __asm__(".section .rodata\n"                                                                   \
            ".global gw_embed_" #symbol "\n"                                                       \
            ".global gw_embed_" #symbol "_end\n"                                                   \
            "gw_embed_" #symbol ":\n"                                                              \
            ".incbin \"" file "\"\n"                                                               \
            "gw_embed_" #symbol "_end:\n"                                                          \
            ".byte 0\n"                                                                            \
            ".previous\n");                                                                        \
    extern const char gw_embed_##symbol[], gw_embed_##symbol##_end[];
#define GW_EMBED_BOTH(symbol, name)                                                                \
    GW_EMBED_FILE(symbol, GW_LUA_DIR "/gateway/" name ".lua")                                      \
    GW_EMBED_FILE(symbol##_bc, GW_BYTECODE_DIR "/" name ".bc")
GW_EMBED_ROWS(GW_EMBED_BOTH)
GW_EMBED_FILE(version, GW_BYTECODE_DIR "/version")
#undef GW_EMBED_BOTH
#undef GW_EMBED_FILE

static const struct {
    const char *name, *begin, *end, *bytecode, *bytecode_end;
} rows[] = {
#define GW_EMBED_ROW(symbol, name)                                                                 \
    {name, gw_embed_##symbol, gw_embed_##symbol##_end, gw_embed_##symbol##_bc,                     \
     gw_embed_##symbol##_bc_end},
    GW_EMBED_ROWS(GW_EMBED_ROW)
#undef GW_EMBED_ROW
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

struct gw_str gw_embed_find(struct gw_str name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (gw_str_eq(name, gw_str_c(rows[i].name)))
            return gw_str(rows[i].begin, (size_t)(rows[i].end - rows[i].begin));
    return GW_STR_NULL;
}

struct gw_str gw_embed_bytecode(struct gw_str name, struct gw_str version)
{
    size_t len = (size_t)(gw_embed_version_end - gw_embed_version);

    if (!gw_str_eq(version, gw_str(gw_embed_version, len)))
        return GW_STR_NULL;
    for (size_t i = 0; i < ROWS; i++)
        if (gw_str_eq(name, gw_str_c(rows[i].name)))
            return gw_str(rows[i].bytecode, (size_t)(rows[i].bytecode_end - rows[i].bytecode));
    return GW_STR_NULL;
}

const char *gw_embed_name(unsigned index)
{
    return index < ROWS ? rows[index].name : NULL;
}
