/* dispatch.h - the functions of each type, written once for every instruction set.
 *
 * Needs dot_type(type, layout, panel, tile, n, out), which is made for a constant type here.
 */

#define DEFINE_DOT(name, type)                                                                                       \
    static void dot_##name(const lc_panel_layout *layout, const uint8_t *panel, const void *tile, int32_t n,         \
                           float *out)                                                                               \
    {                                                                                                                \
        dot_type(type, layout, panel, tile, n, out);                                                                 \
    }
#define DOT_OF(name, type) case type: return dot_##name;

LC_FLOAT_TYPES(DEFINE_DOT)
LC_BLOCK_TYPES(DEFINE_DOT)

static lc_dot_kernel *dot(const lc_type_info *info)
{
    switch (info->type) {
        LC_FLOAT_TYPES(DOT_OF)
        LC_BLOCK_TYPES(DOT_OF)
    default: return NULL;
    }
}

#undef DEFINE_DOT
#undef DOT_OF
